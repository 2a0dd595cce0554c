"""The first session of the page on raw content works with real weights."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from crossalign.cli import main
from crossalign.datasets import load_dataset

PAGE = Path(__file__).parents[2] / "docs" / "extract.md"
ITEMS = """item,title,description
007,Red shoes,made of leather
7,Blue hat,
b,Kitchen table,oak
c,Cat toy,a ball of wool
"""
MORE = {
    "extract": "--set text.model={model} --quiet",
    "describe": "",
    "train": "--set training.epochs=1 --set backbone.dim=4 --quiet",
}


def test_items_become_features_that_train(
    minilm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("items.csv").write_text(ITEMS)
    Path("shop").mkdir()
    rows = [f"{user},{item}" for user in "uvwxyz" for item in ("007", "7", "b", "c")]
    Path("shop/interactions.csv").write_text("\n".join(["user,item", *rows]) + "\n")
    session = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)[0]
    for line in session.splitlines():
        command = shlex.split(line)[1:]
        assert main([*command, *MORE[command[0]].format(model=minilm).split()]) == 0
    data = load_dataset(Path("shop"))
    assert data.item_ids is not None
    assert data.item_ids.tolist() == ["007", "7", "b", "c"]
    assert data.features["text"].shape == (4, 384)
