"""Rows of a study: chosen on validation, masked as any method, kept until something changes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from crossalign.config import load_config
from crossalign.datasets import load_dataset
from crossalign.errors import ConfigError
from crossalign.evaluation import evaluate
from crossalign.references import ItemKNN
from crossalign.studies.methods import Method
from crossalign.studies.reference_rows import reference_rows

SMALL = ["data.planted_users=150", "data.planted_items=100", "training.epochs=1"]


@pytest.fixture
def method() -> Method:
    return Method("bpr", load_config(None, SMALL, backbone="bpr"))


def stamp(folder: Path) -> int:
    return (folder / "references" / "itemknn" / "metrics.json").stat().st_mtime_ns


def test_the_point_is_the_best_on_validation(method, tmp_path):
    (row,) = reference_rows(["itemknn"], [method], tmp_path, progress=False)
    dataset = load_dataset("planted", options=method.config.data)
    recalls = [
        evaluate(ItemKNN(dataset, **point).scores(), dataset, "valid", [20])["recall@20"]
        for point in ItemKNN.grid(dataset)
    ]
    assert row.valid["recall@20"] == (pytest.approx(max(recalls)),)
    chosen = json.loads((row.folders[0] / "metrics.json").read_text())["options"]
    test = evaluate(ItemKNN(dataset, **chosen).scores(), dataset, "test")
    assert row.test["ndcg@10"] == (pytest.approx(test["ndcg@10"]),)
    assert row.reference
    assert row.base is None


def test_rows_are_kept_until_data_grid_or_metrics_change(method, tmp_path, monkeypatch):
    first = reference_rows(["itemknn"], [method], tmp_path, progress=False)
    before = stamp(tmp_path)
    assert reference_rows(["itemknn"], [method], tmp_path, progress=False) == first
    assert stamp(tmp_path) == before

    other = load_config(None, [*SMALL, "data.planted_seed=5"], backbone="bpr")
    changed = reference_rows(["itemknn"], [replace(method, config=other)], tmp_path, progress=False)
    assert changed[0].test != first[0].test

    more = load_config(None, [*SMALL, "evaluation.ks=[3]"], backbone="bpr")
    (row,) = reference_rows(["itemknn"], [replace(method, config=more)], tmp_path, progress=False)
    assert "recall@3" in row.test

    before = stamp(tmp_path)
    monkeypatch.setattr(ItemKNN, "grid", classmethod(lambda cls, dataset: [{"k": 3}]))
    reference_rows(["itemknn"], [replace(method, config=more)], tmp_path, progress=False)
    assert stamp(tmp_path) != before


def test_methods_that_read_the_data_differently_are_refused(method, tmp_path):
    other = Method("x", load_config(None, [*SMALL, "data.split_seed=1"], backbone="bpr"))
    with pytest.raises(ConfigError, match="'x' has other data options"):
        reference_rows(["popularity"], [method, other], tmp_path, progress=False)


def test_content_lines_are_left_out_where_there_is_no_content(tmp_path):
    table = tmp_path / "clicks.csv"
    rows = [f"{user},{item}" for user in range(20) for item in range(user % 3, 12)]
    table.write_text("user,item\n" + "\n".join(rows) + "\n")
    method = Method("bpr", load_config(None, [], path=str(table), backbone="bpr"))
    names = ["contentknn", "popularity"]
    found = reference_rows(names, [method], tmp_path / "out", progress=False)
    assert [row.label for row in found] == ["popularity"]
