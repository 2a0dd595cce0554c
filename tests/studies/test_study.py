"""Studies: methods times seeds, nothing twice, nothing lost, and every failure told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import crossalign.studies.tasks as study_tasks
from crossalign.config import RunConfig, load_config
from crossalign.errors import ConfigError, DataError, RunError
from crossalign.report import format_markdown, study_table
from crossalign.studies.methods import Method, compared_methods, grid_methods, method_label
from crossalign.studies.study import StudyError, run_study

SMALL = ["data.planted_users=150", "data.planted_items=100", "training.epochs=1"]
BROKEN = "alignment.cna_weight=1e39"
"""More than float32 holds, which shows only when it is trained."""


def small(backbone: str = "lightgcn", alignment: str = "none", *more: str) -> RunConfig:
    overrides = [*SMALL, *more]
    if alignment in ("fettle", "cross"):
        overrides.append("alignment.n_prototypes=16")
    return load_config(None, overrides, backbone=backbone, alignment=alignment)


def stamps(folder: Path) -> dict[str, int]:
    return {str(f): f.stat().st_mtime_ns for f in folder.rglob("metrics.json")}


def test_a_study_reuses_finished_runs_and_reports_every_seed(tmp_path: Path) -> None:
    methods = [Method(method_label(c), c) for c in (small("bpr"), small("lightgcn"))]
    first = run_study(methods, [0, 1], tmp_path, progress=False)
    before = stamps(tmp_path)
    second = run_study(methods, [0, 1], tmp_path, progress=False)
    assert first == second
    assert stamps(tmp_path) == before
    assert len(first[0].test["recall@20"]) == 2
    assert [result.label for result in first] == ["bpr", "lightgcn"]


def test_a_study_in_processes_equals_one_in_sequence(tmp_path: Path) -> None:
    methods = [Method("bpr", small("bpr"))]
    alone = run_study(methods, [0, 1], tmp_path / "a", progress=False)
    together = run_study(methods, [0, 1], tmp_path / "b", jobs=2, progress=False)
    assert alone[0].test == together[0].test


def test_a_run_that_was_killed_before_its_report_gets_it(tmp_path: Path) -> None:
    run_study([Method("bpr", small("bpr"))], [0], tmp_path, progress=False)
    report = tmp_path / "bpr" / "seed0" / "report.html"
    written = report.read_bytes()
    report.unlink()
    run_study([Method("bpr", small("bpr"))], [0], tmp_path, progress=False)
    assert report.read_bytes() == written


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_failing_run_does_not_lose_the_others(jobs: int, tmp_path: Path) -> None:
    configs = [small("bpr", "cross", BROKEN), small("bpr")]
    methods = compared_methods(configs)
    with pytest.raises(StudyError) as failure:
        run_study(methods, [0, 1], tmp_path, jobs=jobs, progress=False)
    message = str(failure.value)
    assert message.startswith("2 of 4 runs failed: ")
    assert "bpr+cross/seed0" in message
    assert "bpr+cross/seed1" in message
    assert message.count("loss/align/cna is not finite") == 1
    assert "\n" not in message
    assert [result.label for result in failure.value.results] == ["bpr"]
    assert len(failure.value.results[0].folders) == 2
    assert [row["label"] for row in json.loads((tmp_path / "study.json").read_text())] == ["bpr"]
    assert "Traceback" in (tmp_path / "bpr+cross" / "seed0" / "failure.txt").read_text()


def test_the_next_call_repeats_only_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even an error that no one foresaw; the folder of the run then holds no trace of it."""
    train = study_tasks.train
    broken = True

    def sometimes(config: RunConfig, *args: object, **kwargs: object) -> object:
        if config.seed == 1 and broken:
            raise ZeroDivisionError("by nothing")
        return train(config, *args, **kwargs)

    monkeypatch.setattr(study_tasks, "train", sometimes)
    methods = [Method("bpr", small("bpr"))]
    with pytest.raises(StudyError, match=r"bpr/seed1 \(ZeroDivisionError: by nothing\)"):
        run_study(methods, [0, 1, 2], tmp_path, progress=False)
    before = stamps(tmp_path)
    assert len(before) == 2

    broken = False
    (result,) = run_study(methods, [0, 1, 2], tmp_path, progress=False)
    after = stamps(tmp_path)
    assert len(result.folders) == 3
    assert {file: after[file] for file in before} == before
    assert not list(tmp_path.rglob("failure.txt"))


def test_an_interrupted_study_stops_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(study_tasks, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_study([Method("bpr", small("bpr"))], [0], tmp_path, progress=False)


def test_finished_runs_of_other_data_are_refused(tmp_path: Path) -> None:
    table = tmp_path / "clicks.csv"
    rows = [f"{user},{item}" for user in range(20) for item in range(user % 3, 12)]
    table.write_text("user,item\n" + "\n".join(rows) + "\n")
    config = load_config(None, ["training.epochs=1"], path=str(table), backbone="bpr")
    methods = [Method("bpr", config)]
    run_study(methods, [0], tmp_path / "study", progress=False)
    run_study(methods, [0], tmp_path / "study", progress=False)
    table.write_text(table.read_text() + "1,0\n")
    with pytest.raises(RunError, match="was trained on other data"):
        run_study(methods, [0], tmp_path / "study", progress=False)


def test_runs_from_before_the_data_hash_are_kept(tmp_path: Path) -> None:
    methods = [Method("bpr", small("bpr"))]
    first = run_study(methods, [0], tmp_path, progress=False)
    file = tmp_path / "bpr" / "seed0" / "metrics.json"
    summary = json.loads(file.read_text())
    del summary["data_hash"], summary["checksum"]  # of before both
    file.write_text(json.dumps(summary))
    assert run_study(methods, [0], tmp_path, progress=False) == first


def test_aligned_methods_are_compared_with_their_backbone_alone(tmp_path: Path) -> None:
    configs = [small("bpr"), small("bpr", "fettle"), small("lightgcn", "fettle")]
    methods = compared_methods(configs)
    assert [method.base for method in methods] == [None, "bpr", None]
    table = study_table(run_study(methods, [0], tmp_path, progress=False), ["recall@20"])
    lines = format_markdown(table).splitlines()
    assert ["%" in line for line in lines[2:]] == [False, True, False]


def test_several_data_sets_are_compared_each_by_itself(tmp_path: Path) -> None:
    configs = [
        replace(small("bpr", alignment), path=path)
        for path in ("data/one", "data/two.csv")
        for alignment in ("none", "fettle")
    ]
    methods = compared_methods([*configs, replace(small("lightgcn", "fettle"), path="data/one")])
    found = [(method.data, method.label, method.base) for method in methods]
    assert found == [
        ("one", "bpr", None),
        ("one", "bpr+fettle", "bpr"),
        ("two", "bpr", None),
        ("two", "bpr+fettle", "bpr"),
        ("one", "lightgcn+fettle", None),
    ]
    with pytest.raises(ConfigError, match="same name"):
        compared_methods([replace(configs[0], path=path) for path in ("a/one", "b/one")])


def test_a_grid_has_one_method_per_point() -> None:
    methods = grid_methods(small(), {"backbone.n_layers": [1, 2], "training.batch_size": [64]})
    assert [m.config.backbone.options["n_layers"] for m in methods] == [1, 2]
    assert [m.label for m in methods] == ["n_layers=1,batch_size=64", "n_layers=2,batch_size=64"]


def test_a_study_with_nothing_to_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to run"):
        run_study([], [0], tmp_path)
    with pytest.raises(ConfigError, match="the same method twice"):
        run_study([Method("a", small()), Method("a", small())], [0], tmp_path)


def test_a_finished_run_of_fewer_epochs_goes_on_and_one_of_more_is_refused(tmp_path: Path) -> None:
    """Its table would be that of the old run, under the new settings."""

    def study(folder: str, epochs: int):
        config = small("bpr", "none", f"training.epochs={epochs}", "training.learning_rate=0.01")
        method = Method("bpr", config)
        return run_study([method], [0], tmp_path / folder, progress=False)[0]

    short = study("one", 1)
    longer = study("one", 3)
    assert longer.valid != short.valid
    assert longer.valid == study("other", 3).valid
    with pytest.raises(RunError, match=r"training.epochs = 3, more than 1"):
        study("one", 1)


def test_neighbours_do_not_tell_runs_apart_that_read_none(tmp_path: Path) -> None:
    run_study([Method("bpr", small("bpr"))], [0], tmp_path, progress=False)
    before = stamps(tmp_path)
    run_study([Method("bpr", small("bpr", "none", "neighbors.k=3"))], [0], tmp_path, progress=False)
    assert stamps(tmp_path) == before


def test_a_file_of_neighbours_that_is_not_there_is_missed_before_anything_is_trained(
    tmp_path: Path,
) -> None:
    configs = [small("bpr"), small("bpr", "cross", "neighbors.file=no-such-file.npz")]
    with pytest.raises(DataError, match=r"no-such-file.npz"):
        run_study(compared_methods(configs), [0], tmp_path, progress=False)
    assert not list(tmp_path.iterdir())


def test_a_study_does_not_write_over_a_run(tmp_path: Path) -> None:
    run_study([Method("bpr", small("bpr"))], [0], tmp_path, progress=False)
    with pytest.raises(RunError, match="holds a run, whose report would be lost"):
        run_study([Method("bpr", small("bpr"))], [0], tmp_path / "bpr" / "seed0", progress=False)


def test_configurations_of_one_backbone_are_told_apart_by_their_options() -> None:
    configs = [small("bpr"), small("bpr", "none", "backbone.dim=8"), small("bpr", "bm3")]
    methods = compared_methods(configs)
    assert [method.label for method in methods] == ["bpr-dim=64", "bpr-dim=8", "bpr+bm3"]
    assert [method.base for method in methods] == [None, None, None]
    with pytest.raises(ConfigError, match="the same method twice"):
        run_study(compared_methods([small("bpr"), small("bpr")]), [0], "nowhere", progress=False)
