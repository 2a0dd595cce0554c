"""Which variants there are, what they train, and what their comparison says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crossalign.errors import ConfigError
from crossalign.evaluation.per_user import UserMetrics, save_user_metrics
from crossalign.run_files import USERS_FILE
from crossalign.studies.ablation import ablation_methods, ablation_report
from crossalign.studies.study import MethodResult, run_study

WEIGHTS = ["alignment.ila_weight=0.5", "alignment.dt_weight=0.25", "alignment.cla_weight=0.125"]


def weights(method) -> tuple[float, ...]:
    options = method.config.alignment.options
    return tuple(options.get(f"{part}_weight", 0.0) for part in ("ila", "dt", "cla", "cna"))


def test_cross_holds_the_variants_of_both_papers(config) -> None:
    whole = config("lightgcn", "cross", *WEIGHTS, "alignment.cna_weight=1")
    alone, *methods = ablation_methods([whole])
    assert (alone.label, alone.config.alignment) == ("lightgcn", None)
    assert {method.base for method in methods} == {"lightgcn"}
    assert {m.label.partition("+")[2]: weights(m) for m in methods} == {
        "ILA": (0.5, 0, 0, 0),
        "DT": (0, 0.25, 0, 0),
        "CLA": (0, 0, 0.125, 0),
        "ILA+CLA": (0.5, 0, 0.125, 0),
        "FETTLE": (0.5, 0.25, 0.125, 0),
        "dynamic": (0.5, 0.25, 0.125, 0),
        "CNA": (0, 0, 0, 1),
        "FETTLE+CNA": (0.5, 0.25, 0.125, 1),
        "CROSS": (0.5, 0.25, 0.125, 1),
    }
    rules = {m.label: m.config.alignment.options["directions"] for m in methods}
    assert rules["lightgcn+FETTLE"] == rules["lightgcn+FETTLE+CNA"] == "one_way"
    assert rules["lightgcn+dynamic"] == "dynamic"
    assert methods[-1].config == whole


def test_fettle_keeps_its_rule_and_direction_tuning_takes_the_weight_of_ila(config) -> None:
    _, *methods = ablation_methods([config("bpr", "fettle", WEIGHTS[0], "alignment.leaky_bi=true")])
    assert [m.label for m in methods] == [
        "bpr+ILA", "bpr+DT", "bpr+CLA", "bpr+ILA+CLA", "bpr+FETTLE",
    ]  # fmt: skip
    assert weights(methods[1]) == (0, 0.5, 0, 0)
    assert all(m.config.alignment.options["leaky_bi"] for m in methods)


def test_only_the_chosen_variants_are_trained(config) -> None:
    methods = ablation_methods([config("bpr", "cross", "alignment.cla_weight=0")], ["CNA", "ILA"])
    assert [method.label for method in methods] == ["bpr", "bpr+ILA", "bpr+CNA"]


def test_fettle_taken_out_of_cross_trains_as_fettle_does(config, tmp_path: Path) -> None:
    """The same losses from the same start: variants of either alignment can be compared."""
    chosen = [
        ablation_methods([config("bpr", name, "alignment.cla_weight=0.1")], ["FETTLE"])[1]
        for name in ("fettle", "cross")
    ]
    ours, theirs = (
        run_study([method], [0], tmp_path / method.config.alignment.name, progress=False)[0]
        for method in chosen
    )
    assert ours.test == theirs.test


def test_what_cannot_be_taken_apart_is_refused(config) -> None:
    with pytest.raises(ConfigError, match="takes apart fettle or cross, not 'bm3'"):
        ablation_methods([config("bpr", "bm3")])
    with pytest.raises(ConfigError, match="not 'none'"):
        ablation_methods([config("bpr", "none")])
    with pytest.raises(ConfigError, match="cla_weight 0"):
        ablation_methods([config("bpr", "cross", "alignment.cla_weight=0")])
    with pytest.raises(ConfigError, match="unknown variant of fettle 'CNA'"):
        ablation_methods([config("bpr", "fettle")], ["CNA"])
    with pytest.raises(ConfigError, match="two configurations take bpr apart"):
        ablation_methods([config("bpr", "fettle"), config("bpr", "cross")])


def test_steps_relate_variants_to_each_other_with_corrected_tests(tmp_path: Path) -> None:
    users = np.arange(40)

    def trained(label: str, recall: float, base: str | None = "bpr") -> MethodResult:
        folder = tmp_path / label
        values = np.full(40, recall) + 0.01 * np.sin(users)
        save_user_metrics(folder / USERS_FILE, UserMetrics(users, {"recall@20": values}))
        return MethodResult(label, (folder,), {}, {"recall@20": (recall,)}, base)

    results = [
        trained("bpr", 0.1, None),
        trained("bpr+ILA", 0.2),
        trained("bpr+ILA+CLA", 0.25),
        trained("bpr+FETTLE", 0.25),
    ]
    report = ablation_report(results, ["recall@20"])
    steps = {step.gives: step for step in report.steps["recall@20"]}
    assert list(steps) == ["ILA+CLA", "FETTLE"]
    assert steps["ILA+CLA"].change.mean == pytest.approx(0.25)
    assert steps["ILA+CLA"].change.spread is None
    assert steps["ILA+CLA"].difference.p_value < 1e-3
    assert steps["FETTLE"].difference.p_value == 1
    assert max(map(len, report.lines())) <= 80
    assert report.to_dict()["recall@20"][0]["added"] == "CLA"
    assert "What each part adds" in report.sections()[0]
