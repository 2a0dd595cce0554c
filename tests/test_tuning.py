"""A search tries what the space holds, on validation alone, and survives being killed."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from crossalign.align import ALIGNERS
from crossalign.cli import main
from crossalign.config import load_config
from crossalign.errors import ConfigError, RunError
from crossalign.evaluation.ranking import Evaluator
from crossalign.models import BACKBONES
from crossalign.tuning import (
    Choice,
    Range,
    Tuning,
    config_at,
    paper_space,
    read_space,
    trials,
    tune,
)
from crossalign.tuning.grids import ALIGNMENT_GRIDS, BACKBONE_GRIDS
from crossalign.tuning.space import check_space, space_yaml

SMALL = ["data.planted_users=150", "data.planted_items=100", "training.epochs=1"]
RATES = Choice((1e-4, 1e-2, 1e-1))


def small(folder: Path, **changes: object) -> Tuning:
    """BPR on the tiny planted data, its learning rate searched."""
    config = load_config(None, [*SMALL, "training.learning_rate=0.01"], backbone="bpr")
    return replace(Tuning(config, {"training.learning_rate": RATES}, folder), **changes)


@pytest.mark.parametrize("name", ALIGNMENT_GRIDS)
def test_every_grid_of_an_alignment_fits_it(name: str) -> None:
    assert name in ALIGNERS
    config = load_config(None, [], alignment=name)
    check_space(paper_space(config), config)


@pytest.mark.parametrize("name", BACKBONE_GRIDS)
def test_every_grid_of_a_backbone_fits_it(name: str) -> None:
    assert name in BACKBONES
    config = load_config(None, [], backbone=name)
    check_space(paper_space(config), config)


def test_what_the_papers_do_not_search_asks_for_a_space() -> None:
    with pytest.raises(ConfigError, match="no grid for alignment 'composed': give one with --sp"):
        paper_space(load_config(None, [], alignment="composed"))


def test_a_space_file_is_read_and_written_alike(tmp_path: Path) -> None:
    """YAML reads 1e-3 as a word; here it is the number that people mean."""
    file = tmp_path / "space.yaml"
    file.write_text(
        "alignment.ila_weight: [1e-3, 0.01]\nalignment.codes: [sinkhorn, kmeans]\n"
        "training.learning_rate: {low: 1e-4, high: 0.1, log: true}\n"
        "backbone.n_layers: {low: 1, high: 4}\n"
    )
    space = read_space(file)
    assert space == {
        "alignment.ila_weight": Choice((1e-3, 0.01)),
        "alignment.codes": Choice(("sinkhorn", "kmeans")),
        "training.learning_rate": Range(1e-4, 0.1, log=True),
        "backbone.n_layers": Range(1, 4),
    }
    assert space["backbone.n_layers"].whole
    file.write_text(space_yaml(space))
    assert read_space(file) == space


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("alignment.ila_weight: 0.1", "give a list of values"),
        ("alignment.ila_weight: []", "give a list of values"),
        ("alignment.ila_weight: [[1, 2]]", "give a list of values"),
        ("training.learning_rate: {low: a, high: 1}", "option 'low"),
        ("training.learning_rate: {low: 1, high: 0.1}", "low must be below high"),
        ("training.learning_rate: {low: 0, high: 1, log: true}", "low must be above zero"),
        ("training.learning_rate: {from: 0}", "give a list of values"),
        ("[1, 2]", "expected lines such as"),
        ("a: [", "not valid YAML"),
    ],
)
def test_a_broken_space_file_gets_one_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_space(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("training.learning_rat", 0.1, "did you mean 'learning_rate'"),
        ("training.learning_rate", -1, "option 'training.learning_rate' is -1"),
        ("evaluation.ks", 5, "cannot be searched"),
        ("training.monitor", "ndcg@20", "cannot be searched"),
        ("alignment.weight", 0.1, "the configuration has no alignment"),
        ("learning_rate", 0.1, "unknown option 'learning_rate'"),
    ],
)
def test_keys_that_do_not_fit_are_refused(key: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_space({key: Choice((value,))}, load_config(None, []))


def test_the_best_trial_is_that_of_the_highest_validation_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values are those that training each configuration gives; no split but validation is read."""
    splits = []
    make = Evaluator.__init__

    def watched(self: Evaluator, dataset: object, split: str, *more: object) -> None:
        splits.append(split)
        make(self, dataset, split, *more)

    monkeypatch.setattr(Evaluator, "__init__", watched)
    tuning = small(tmp_path / "search", prune=False)
    result = tune(tuning, 6, progress=False, command="crossalign tune ...")
    assert set(splits) == {"valid"}
    assert len(splits) == len({tuple(t.params.values()) for t in result.trials})
    assert len(result.trials) == 6
    assert [t.value for t in result.trials] == sorted(t.value for t in result.trials)[::-1]
    assert next(t for t in result.trials if t.number == 0).params == {
        "training.learning_rate": 0.01
    }
    for trial in result.trials:
        twin = next(t for t in result.trials if t.params == trial.params and t.repeats is None)
        assert trial.value == twin.value

    best = load_config(tmp_path / "search" / "best.yaml")
    assert best == config_at(tuning.config, result.best.params)
    stored = json.loads((tmp_path / "search" / "trials.json").read_text())
    assert stored["split"] == "valid"
    assert stored["trials"][0]["value"] == result.best.value
    page = (tmp_path / "search" / "report.html").read_text()
    assert f"<b>{result.best.value:.4f}</b><span>validation Recall@20</span>" in page
    assert "Recall@20 by learning_rate" in page
    assert result.best.command in re.sub(r"</?span>", "", page)


def test_the_command_of_a_trial_trains_its_configuration(tmp_path: Path) -> None:
    tuning = small(tmp_path / "search", space={"training.learning_rate": Choice((1e-5,))})
    result = tune(tuning, 1, progress=False)
    words = result.best.command.split()
    sets = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    base = words[words.index("--config") + 1]
    assert load_config(base, sets) == config_at(tuning.config, {"training.learning_rate": 1e-5})


def test_a_killed_search_goes_on_and_tries_again_what_was_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuning = small(tmp_path, space={"training.learning_rate": Range(1e-4, 0.1, log=True)})
    train, calls = trials._train, []

    def killed(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return train(*arguments)

    monkeypatch.setattr(trials, "_train", killed)
    with pytest.raises(KeyboardInterrupt):
        tune(tuning, 3, progress=False)
    cut_off = tuning.study().get_trials(states=(optuna.trial.TrialState.RUNNING,))
    assert len(cut_off) == 1
    result = tune(tuning, 3, progress=False)
    assert len(calls) == 4
    assert len(result.trials) == 3
    assert cut_off[0].params in [trial.params for trial in result.trials]

    more = tune(tuning, 3, progress=False)
    assert len(calls) == 4
    assert more.trials == result.trials


def test_another_search_does_not_mix_with_that_of_the_folder(tmp_path: Path) -> None:
    tuning = small(tmp_path)
    tune(tuning, 1, progress=False)
    other = load_config(None, [*SMALL, "seed=3"], backbone="bpr")
    with pytest.raises(RunError, match="from another configuration: choose another --out"):
        tune(replace(tuning, config=other), 2, progress=False)
    with pytest.raises(RunError, match="another space: choose another --out"):
        tune(replace(tuning, space={"training.learning_rate": Choice((1e-3,))}), 2, progress=False)


def test_trials_that_fall_behind_are_pruned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below the median of the earlier trials at the same epoch, after Optuna's five."""
    config = config_at(small(tmp_path).config, {"training.epochs": 3})
    rates = [0.1, 0.09, 0.08, 0.07, 0.06, 1e-7]
    tuning = Tuning(config, {"training.learning_rate": Choice(tuple(rates))}, tmp_path)
    scores = {rate: rate for rate in rates}
    fit = trials.fit

    def judged(backbone: object, dataset: object, options: object, **more: object) -> object:
        context = more.pop("context")

        def on_epoch(row: dict) -> None:
            context.on_epoch({**row, "valid/recall@20": scores[options.learning_rate]})

        watched = replace(context, on_epoch=on_epoch)
        return fit(backbone, dataset, options, context=watched, **more)

    monkeypatch.setattr(trials, "fit", judged)
    study = tuning.study()
    for index, rate in enumerate(rates):
        trials.run_trial(tuning, index, {"training.learning_rate": rate})
    states = [trial.state.name for trial in trials.finished(study)]
    assert states == ["COMPLETE"] * 5 + ["PRUNED"]
    assert study.trials[-1].last_step == 1


def test_a_training_that_breaks_off_is_a_failed_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = trials._train

    def broken(tuning: Tuning, config: object, trial: optuna.Trial) -> object:
        if trial.number == 0:
            raise RunError("loss is not finite")
        return train(tuning, config, trial)

    monkeypatch.setattr(trials, "_train", broken)
    with pytest.raises(RunError, match=r"no trial .* was completed \(loss is not finite\)"):
        tune(small(tmp_path), 1, progress=False)
    result = tune(small(tmp_path), 2, progress=False)
    assert [trial.state for trial in result.trials] == ["complete", "fail"]
    assert result.trials[1].error == "loss is not finite"


def test_the_command_runs_over_processes_and_prints_what_to_do_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, space = tmp_path / "base.yaml", tmp_path / "space.yaml"
    config.write_text("backbone: bpr\n")
    space.write_text("backbone.reg_weight: {low: 0.01, high: 1.0}\n")
    arguments = ["tune", str(config), "--space", str(space), "--trials", "2", "--jobs", "2"]
    sets = [word for entry in SMALL for word in ("--set", entry)]
    assert main([*arguments, "--out", str(tmp_path / "out"), "--quiet", *sets]) == 0
    out = capsys.readouterr().out
    assert "valid recall@20" in out
    assert f"crossalign train --config {tmp_path / 'out' / 'best.yaml'}" in out
    assert len(json.loads((tmp_path / "out" / "trials.json").read_text())["trials"]) == 2
