"""Which methods lie in folders of runs and studies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crossalign.config import to_yaml
from crossalign.errors import ConfigError, RunError
from crossalign.studies.finished import finished_methods


@pytest.fixture
def write_run(config, tmp_path: Path):
    """Writes a run folder of BPR with some options; returns it."""

    def write(name: str, *overrides: str) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(to_yaml(config("bpr", "none", *overrides)))
        (folder / "metrics.json").write_text("{}")
        return folder

    return write


def test_runs_that_differ_in_their_seed_are_one_method(write_run) -> None:
    folders = [write_run(str(seed), f"seed={seed}") for seed in (0, 1)]
    (method,) = finished_methods(folders)
    assert method.label == "bpr"
    assert method.folders == tuple(folders)


def test_equal_names_of_different_settings_are_told_apart_by_folder(write_run) -> None:
    folders = [write_run("small"), write_run("large", "backbone.dim=32")]
    assert [method.label for method in finished_methods(folders)] == list(map(str, folders))


def test_a_study_gives_its_methods_but_no_reference_lines(write_run, tmp_path: Path) -> None:
    folders = [write_run(f"study/toys/bpr/seed{seed}", f"seed={seed}") for seed in (0, 1)]
    row = {"label": "bpr", "data": "toys", "reference": False, "folders": ["x/seed0", "x/seed1"]}
    line = {**row, "label": "popularity", "reference": True}
    (tmp_path / "study" / "study.json").write_text(json.dumps([row, line]))
    (method,) = finished_methods([tmp_path / "study"])
    assert (method.label, method.data, method.folders) == ("bpr", "toys", tuple(folders))


def test_unfinished_runs_and_doubles_are_refused(write_run, tmp_path: Path) -> None:
    folder = write_run("run")
    with pytest.raises(ConfigError, match="give each once"):
        finished_methods([folder, tmp_path / "." / "run"])
    (folder / "metrics.json").unlink()
    with pytest.raises(RunError, match="is not finished"):
        finished_methods([folder])
