"""A small run folder, as `train` writes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

METRICS = {
    "backbone": "lightgcn",
    "alignment": "cross",
    "dataset": "planted",
    "seed": 3,
    "monitor": "recall@20",
    "best_epoch": 2,
    "epochs": 3,
    "valid": {"recall@5": 0.05, "recall@20": 0.12, "ndcg@20": 0.06},
    "test": {"recall@5": 0.04, "recall@10": 0.07, "recall@20": 0.1101, "ndcg@20": 0.0512},
    "seconds": {"fit": 12.5, "evaluate": 0.25},
    "versions": {"torch": "2.13.0"},
    "command": "crossalign train planted --backbone lightgcn --set alignment.gamma=0.2",
    "dataset_facts": {"n_users": 12345, "sparsity": 0.99, "modalities": ["image", "text"]},
}


def history_row(epoch: int) -> dict[str, float]:
    return {
        "epoch": epoch,
        "learning_rate": 0.001,
        "loss": 0.7,
        "loss/bpr": 0.69 / epoch,
        "loss/align/ila": 0.02 / epoch,
        "loss/align/dt": -0.001 * epoch,
        "loss/align/cna_reg": 0.0,
        "valid/recall@20": [0.08, 0.12, 0.1][epoch - 1],
        "diagnostics/direction/image_to_text": 0.4,
        "diagnostics/direction/text_to_image": 0.6,
        "diagnostics/direction/image_to_id": 0.2,
        "diagnostics/direction/id_to_image": 0.8,
        "diagnostics/temperature/ila": 0.1 + 0.01 * epoch,
    }


def write_jsonl(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def make_run(tmp_path) -> Callable[..., Path]:
    """Write a run folder; keyword arguments replace entries of metrics.json, None drops them."""

    def make(name: str = "run", history: list[dict] | None = None, **changes: object) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        metrics = {k: v for k, v in (METRICS | changes).items() if v is not None}
        (folder / "metrics.json").write_text(json.dumps(metrics))
        (folder / "config.yaml").write_text("backbone: lightgcn\nseed: 3\n")
        rows = [history_row(epoch) for epoch in (1, 2, 3)] if history is None else history
        write_jsonl(folder / "history.jsonl", rows)
        write_jsonl(folder / "timings.jsonl", [{"epoch": e, "train": 1.0 * e} for e in (1, 2, 6)])
        return folder

    return make
