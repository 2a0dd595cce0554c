"""The pipeline end to end on small built-in data: run folders and resuming."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from crossalign.align import ALIGNERS
from crossalign.components import make_alignment, make_backbone, make_graph
from crossalign.config import RunConfig, load_config
from crossalign.datasets import Dataset, load_dataset
from crossalign.errors import ConfigError, RunError
from crossalign.evaluation.per_user import load_user_metrics
from crossalign.models import BACKBONES
from crossalign.pipeline import load_run, train
from crossalign.run_measures import evaluate_split
from crossalign.training import RunContext, fit, seed_everything

SMALL = [
    "data.planted_users=150",
    "data.planted_items=100",
    "training.epochs=2",
]


def small(backbone: str = "lightgcn", alignment: str = "none", *more: str) -> RunConfig:
    overrides = [*SMALL, *more]
    if alignment in ("fettle", "cross"):
        overrides.append("alignment.n_prototypes=16")
    return load_config(None, overrides, backbone=backbone, alignment=alignment)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "cross"
    train(small(alignment="cross"), folder, progress=False, command="crossalign train planted")
    return folder


def test_a_run_folder_holds_everything_the_guide_names(finished: Path) -> None:
    names = {file.name for file in finished.iterdir()}
    assert names >= {
        "config.yaml",
        "metrics.json",
        "history.jsonl",
        "model.safetensors",
        "checkpoint.pt",
        "report.html",
        "test_users.npz",
    }


def test_metrics_file_says_what_was_run_and_what_came_out(finished: Path) -> None:
    summary = json.loads((finished / "metrics.json").read_text())
    assert summary["backbone"] == "lightgcn"
    assert summary["alignment"] == "cross"
    assert summary["epochs"] == 2
    assert set(summary["test"]) >= {"recall@20", "ndcg@10", "precision@5", "map@50", "mrr@20"}
    assert 0 <= summary["test"]["recall@20"] <= 1


def test_a_loaded_run_gives_the_metrics_it_was_saved_with(finished: Path) -> None:
    config, dataset, backbone = load_run(finished)
    metrics = evaluate_split(backbone, dataset, "test", config)
    saved = json.loads((finished / "metrics.json").read_text())["test"]
    assert metrics["recall@20"] == pytest.approx(saved["recall@20"], abs=1e-12)


def test_the_metrics_of_single_users_average_to_those_of_the_run(finished: Path) -> None:
    users = load_user_metrics(finished / "test_users.npz")
    saved = json.loads((finished / "metrics.json").read_text())["test"]
    assert len(users.users) == saved["n_users"]
    for name, values in users.values.items():
        assert values.mean() == pytest.approx(saved[name], abs=1e-6)


def test_the_same_seed_gives_the_same_history(finished: Path, tmp_path: Path) -> None:
    train(small(alignment="cross"), tmp_path / "again", progress=False)
    again = (tmp_path / "again" / "history.jsonl").read_bytes()
    assert again == (finished / "history.jsonl").read_bytes()


def test_another_seed_gives_another_history(finished: Path, tmp_path: Path) -> None:
    train(small("lightgcn", "cross", "seed=1"), tmp_path / "other", progress=False)
    other = (tmp_path / "other" / "history.jsonl").read_bytes()
    assert other != (finished / "history.jsonl").read_bytes()


def test_a_run_is_never_overwritten(finished: Path) -> None:
    with pytest.raises(RunError, match="already holds a run"):
        train(small(alignment="cross"), finished, progress=False)


def test_resuming_with_other_settings_names_the_setting(finished: Path) -> None:
    other = small("lightgcn", "cross", "training.learning_rate=0.5")
    with pytest.raises(RunError, match=r"another training\.learning_rate"):
        train(other, finished, resume=True, progress=False)


def test_a_finished_run_can_be_lengthened_by_resuming(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train(small(), folder, progress=False)
    train(small("lightgcn", "none", "training.epochs=4"), folder, resume=True, progress=False)
    train(small("lightgcn", "none", "training.epochs=4"), tmp_path / "whole", progress=False)
    whole = (tmp_path / "whole" / "history.jsonl").read_bytes()
    assert (folder / "history.jsonl").read_bytes() == whole


@pytest.fixture(scope="module")
def small_data() -> Dataset:
    config = small()
    return load_dataset(config.path, options=config.data)


@pytest.mark.parametrize("alignment", ["none", *ALIGNERS.names()])
@pytest.mark.parametrize("backbone", BACKBONES.names())
def test_every_backbone_trains_with_every_alignment(
    backbone: str, alignment: str, small_data: Dataset
) -> None:
    """One epoch and an evaluation; without a run folder, because its report takes longest."""
    config = small(backbone, alignment, "training.epochs=1")
    seed_everything(0)
    model = make_backbone(config, make_graph(config, small_data), small_data)
    aligner = make_alignment(config, small_data, model)
    result = fit(
        model, small_data, config.training, alignment=aligner, context=RunContext(progress=False)
    )
    assert all(math.isfinite(value) for value in result.history[0].values())
    assert 0 <= evaluate_split(model, small_data, "test", config)["recall@20"] <= 1


def test_graphs_are_kept_in_the_cache_folder(tmp_path: Path) -> None:
    config = small("freedom", "none", f"cache_dir={tmp_path / 'cache'}", "training.epochs=1")
    train(config, tmp_path / "first", progress=False)
    kept = sorted(file.name for file in (tmp_path / "cache").iterdir())
    assert len(kept) == 2
    train(config, tmp_path / "second", progress=False)
    assert sorted(file.name for file in (tmp_path / "cache").iterdir()) == kept
    histories = [(tmp_path / run / "history.jsonl").read_bytes() for run in ("first", "second")]
    assert histories[0] == histories[1]


def test_learnt_directions_agree_with_the_planted_truth(tmp_path: Path) -> None:
    """Most decided items learn to follow the modality that carries the preference signal."""
    overrides = ["training.epochs=12", "training.learning_rate=5e-3", "training.patience=20"]
    config = load_config(None, overrides, alignment="cross")
    directions = train(config, tmp_path / "run", progress=False).directions
    assert directions is not None
    assert directions.decided > 0.8 * directions.items
    assert directions.share > 0.75


def test_the_graph_holds_only_the_relations_the_backbone_reads() -> None:
    config = small("freedom")
    dataset = load_dataset(config.path, options=config.data)
    assert set(make_graph(config, dataset).etypes) == {
        "interacts",
        "interacted_by",
        "similar_image",
        "similar_text",
    }


def test_alignment_without_content_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "clicks.csv"
    rows = [f"{user},{item}" for user in range(20) for item in range(user % 3, 12)]
    table.write_text("user,item\n" + "\n".join(rows) + "\n")
    config = load_config(None, [], path=str(table), alignment="cross")
    with pytest.raises(ConfigError, match="needs content features"):
        train(config, tmp_path / "run", progress=False)


def test_a_backbone_that_reads_more_neighbours_than_the_graph_holds_is_refused() -> None:
    """It would quietly make do with those that are there."""
    config = load_config(None, ["backbone.n_neighbors=50"], backbone="dualgnn", path="planted")
    with pytest.raises(ConfigError, match=r"n_neighbors is 50, .* holds 40: set graph.cooccur_k"):
        make_graph(config, load_dataset("planted"))
