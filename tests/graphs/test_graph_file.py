"""The written graph: all that was asked for, and plain DGL opens it without this package."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import crossalign
from crossalign.cli import main
from crossalign.datasets import Dataset
from crossalign.errors import ConfigError
from crossalign.graphs import GraphOptions, write_graph

PAGE = Path(__file__).parents[2] / "docs" / "graph.md"


@pytest.fixture
def shop() -> Dataset:
    rng = np.random.default_rng(0)
    pairs = torch.from_numpy(np.unique(rng.integers(0, 8, (40, 2)), axis=0).T.copy())
    held = pairs[:, :2].contiguous()
    features = {"look": torch.from_numpy(rng.random((8, 3), dtype=np.float32))}
    missing = {"look": torch.arange(8) == 5}
    features["look"][5] = 0
    items = np.array([f"item {i}" for i in range(8)], dtype=object)
    return Dataset("shop", 8, 8, pairs, held, held, features, missing, item_ids=items)


def test_plain_dgl_opens_the_graph_by_the_lines_of_the_page(shop: Dataset, tmp_path: Path) -> None:
    """In a fresh interpreter that cannot import crossalign."""
    relations = ["interacts", "similar", "cooccurs"]
    write_graph(tmp_path / "shop.dgl", shop, relations=relations, features=True, splits=True)
    (lines,) = re.findall(r"^```py\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    script = (
        "import sys\nsys.modules['crossalign'] = None\n" + lines + "print(graph.num_edges("
        "'interacts'), splits['test'].tolist(), graph.nodes['item'].data['look_missing'].tolist())"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    types, rest = found.stdout.strip().splitlines()[-2:]
    assert "('item', 'similar_look', 'item')" in types
    missing = (torch.arange(8) == 5).int().tolist()
    assert rest == f"{shop.train.shape[1]} {shop.test.tolist()} {missing}"


def test_files_beside_the_graph_have_ids_and_what_it_is_made_of(
    shop: Dataset, tmp_path: Path
) -> None:
    written = write_graph(tmp_path / "shop.dgl", shop)
    names = ["shop.dgl", "shop.users.csv", "shop.items.csv", "shop.json"]
    assert [file.name for file in written.files] == names
    items = pd.read_csv(tmp_path / "shop.items.csv")
    assert items["id"].tolist() == [f"item {i}" for i in range(8)]
    assert items["node"].tolist() == list(range(8))
    about = json.loads((tmp_path / "shop.json").read_text())
    assert about == written.about
    n = shop.train.shape[1]
    edges = [["item", "interacted_by", "user", n], ["user", "interacts", "item", n]]
    assert sorted(about["edges"]) == edges
    assert about["features"] == about["splits"] == {}


def test_the_command_says_what_it_wrote_and_what_0_stands_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--set", "data.planted_users=60", "--set", "data.planted_items=50"]
    out = tmp_path / "shop.dgl"
    code = main(["graph", "planted", *small, "--relations", "cooccurs", "-o", str(out)])
    printed = capsys.readouterr().out
    assert code == 0
    assert "item - cooccurs - item" in printed
    assert "graph.cooccur_k is 0, which stands for 40" in printed


@pytest.mark.parametrize("relation", ["cooccurs", "user_cooccurs"])
def test_a_cooccur_k_of_0_is_40_for_items_and_for_users(
    shop: Dataset, tmp_path: Path, relation: str
) -> None:
    for k in (0, 40):
        options = GraphOptions(cooccur_k=k)
        write_graph(tmp_path / f"{k}.dgl", shop, options, relations=[relation])
    (first,), _ = crossalign.dgl.load_graphs(str(tmp_path / "0.dgl"))
    (second,), _ = crossalign.dgl.load_graphs(str(tmp_path / "40.dgl"))
    assert torch.equal(torch.stack(first.edges()), torch.stack(second.edges()))
    assert first.num_edges() > 0


def test_what_cannot_be_written_is_refused_in_words(shop: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"such as shop\.dgl"):
        write_graph(tmp_path / "shop.bin", shop)
    bare = Dataset("bare", 8, 8, shop.train, shop.valid, shop.test)
    with pytest.raises(ConfigError, match="no features"):
        write_graph(tmp_path / "shop.dgl", bare, features=True)
    with pytest.raises(ConfigError, match="relation"):
        write_graph(tmp_path / "shop.dgl", shop, relations=["intracts"])
    assert not list(tmp_path.iterdir())


def test_the_guarded_import_has_a_public_name() -> None:
    from crossalign.graphs.dgl_import import dgl

    assert crossalign.dgl is dgl
    with pytest.raises(AttributeError, match="no attribute 'dlg'"):
        crossalign.dlg
