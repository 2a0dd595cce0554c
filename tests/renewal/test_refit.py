"""`train --refit`: all rows, a fixed number of epochs, scores of another run and said so."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from crossalign.cli import main
from crossalign.config import load_config
from crossalign.datasets import load_dataset
from crossalign.pipeline import load_run


@pytest.fixture(scope="module")
def refit(weeks, tmp_path_factory):
    """The run on week one, repeated on all its rows."""
    out = tmp_path_factory.mktemp("refit") / "run"
    assert main(["train", "--refit", str(weeks / "run"), "--out", str(out), "--quiet"]) == 0
    return out


def read(file):
    return json.loads(file.read_text())


def test_all_rows_are_training_rows(weeks, refit) -> None:
    config, dataset, _ = load_run(refit)
    rows = pd.read_csv(weeks / "one" / "interactions.csv")
    assert dataset.train.shape[1] == len(rows)
    assert not dataset.holds_out
    before = read(weeks / "run" / "metrics.json")
    history = [json.loads(line) for line in (refit / "history.jsonl").read_text().splitlines()]
    assert len(history) == config.training.epochs == before["best_epoch"]
    assert not any(key.startswith("valid/") for row in history for key in row)


def test_its_scores_are_those_of_the_run_and_said_so(weeks, refit) -> None:
    own, before = read(refit / "metrics.json"), read(weeks / "run" / "metrics.json")
    assert own["test"] == before["test"]
    assert own["measured_on"]["run"] == str(weeks / "run")
    assert own["dataset_facts"]["test"] == 0
    page = (refit / "report.html").read_text()
    assert f"metrics of {weeks / 'run'}, which held rows out" in page
    assert "the best on validation" not in page
    assert not (refit / "test_users.npz").exists()


def test_an_export_says_which_kind_it_is(weeks, refit, tmp_path, capsys) -> None:
    assert main(["export", str(refit), "--out", str(tmp_path / "all")]) == 0
    assert f"trained on all rows; its metrics are those of {weeks / 'run'}" in (
        capsys.readouterr().out
    )
    kind = read(tmp_path / "all" / "about.json")["kind"]
    assert kind == {"trained_on": "all rows", "metrics_of": str(weeks / "run")}
    assert main(["export", str(weeks / "run"), "--out", str(tmp_path / "part")]) == 0
    assert "trained without the rows held out" in capsys.readouterr().out
    assert read(tmp_path / "part" / "about.json")["kind"]["metrics_of"] == "this run"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--set", "backbone.dim=4"), "leave --set out"),
        (("--seed", "3"), "leave --seed out"),
        (("--from", "x"), "not allowed with argument --refit"),
    ],
)
def test_what_a_refit_cannot_change_is_refused(weeks, tmp_path, capsys, more, said) -> None:
    command = ["train", "--refit", str(weeks / "run"), "--out", str(tmp_path / "out")]
    assert main([*command, *more]) == 2
    assert said in capsys.readouterr().err


def test_a_refit_is_not_refitted_nor_evaluated(refit, tmp_path, capsys) -> None:
    assert main(["train", "--refit", str(refit), "--out", str(tmp_path / "again")]) == 2
    assert "holds nothing out" in capsys.readouterr().err
    assert main(["evaluate", str(refit)]) == 2
    assert "has no test rows" in capsys.readouterr().err


def test_a_refit_of_other_data_is_refused(weeks, tmp_path, capsys) -> None:
    command = ["train", str(weeks / "two"), "--refit", str(weeks / "run")]
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    assert "was trained on other data" in capsys.readouterr().err


def test_a_killed_refit_goes_on_as_one_that_was_not(weeks, refit, tmp_path) -> None:
    """Its last epoch is written once it is reached, not before."""
    config = load_config(refit / "config.yaml")
    out = tmp_path / "short"
    sets = ["--set", "training.epochs=1", "--config", str(refit / "config.yaml")]
    assert main(["train", "--out", str(out), "--quiet", *sets]) == 0
    longer = ["--set", f"training.epochs={config.training.epochs}"]
    assert main(["train", "--resume", str(out), "--quiet", *longer]) == 0
    assert (out / "history.jsonl").read_text() == (refit / "history.jsonl").read_text()
    assert (out / "model.safetensors").read_bytes() == (refit / "model.safetensors").read_bytes()


def test_tables_of_training_rows_alone_are_taken_where_nothing_is_validated(
    weeks, tmp_path, capsys
) -> None:
    rows = pd.read_csv(weeks / "one" / "interactions.csv").drop(columns="time")
    rows.assign(split="train").to_csv(tmp_path / "all.csv", index=False)
    data = str(tmp_path / "all.csv")
    assert not load_dataset(data).holds_out
    assert main(["describe", data]) == 0
    assert "all rows are training rows" in capsys.readouterr().out
    assert main(["neighbors", data, "-k", "5", "-o", str(tmp_path / "n.npz"), "--quiet"]) == 0
    command = ["train", data, "--backbone", "bpr", "--out", str(tmp_path / "run"), "--quiet"]
    assert main([*command, "--set", "training.epochs=2"]) == 2
    assert "set data.hold_out=false" in capsys.readouterr().err
    fixed = ["--set", "training.epochs=2", "--set", "data.hold_out=false"]
    assert main([*command, *fixed]) == 0
    assert "2 epochs on all rows, nothing held out" in capsys.readouterr().out
    assert main(["export", str(tmp_path / "run"), "--out", str(tmp_path / "shop")]) == 0
    assert "there are no metrics" in capsys.readouterr().out
    assert (tmp_path / "run" / "report.html").is_file()
