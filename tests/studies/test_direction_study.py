"""Rules for directions: what is trained, and what is read from the runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crossalign.errors import ConfigError
from crossalign.studies.direction_history import read_direction_history
from crossalign.studies.directions import direction_methods, direction_report
from crossalign.studies.study import MethodResult


def write_run(folder: Path, scores: list[float], judged: dict | None = None) -> Path:
    folder.mkdir(parents=True)
    rows = [
        {
            "epoch": epoch,
            "diagnostics/direction/id_to_image": value / 2,
            "diagnostics/score/id": value,
            "diagnostics/score_variance/id": value / 10,
        }
        for epoch, value in enumerate(scores, start=1)
    ]
    (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    numbers = {"recall@20": scores[-1], "n_users": 1}
    summary = {"valid": numbers, "test": numbers}
    summary |= {} if judged is None else {"directions": judged}
    (folder / "metrics.json").write_text(json.dumps(summary))
    return folder


def test_every_rule_is_compared_with_the_one_way_rule(config) -> None:
    methods = direction_methods(
        [config("bpr", "fettle")],
        policies=["dynamic"],
        thetas=[-1.0, 0.5],
        theta_of=["source", "either"],
    )
    assert [(method.label, method.base) for method in methods] == [
        ("bpr", None),
        ("bpr+fettle-one_way", None),
        ("bpr+fettle-dynamic", "bpr+fettle-one_way"),
        ("bpr+fettle-source-theta=-1", "bpr+fettle-one_way"),
        ("bpr+fettle-source-theta=0.5", "bpr+fettle-one_way"),
        ("bpr+fettle-either-theta=-1", "bpr+fettle-one_way"),
        ("bpr+fettle-either-theta=0.5", "bpr+fettle-one_way"),
    ]
    options = methods[-1].config.alignment.options
    assert (options["directions"], options["theta"], options["theta_of"]) == (
        "threshold", 0.5, "either",
    )  # fmt: skip


def test_a_backbone_is_trained_alone_once_unless_its_options_differ(config) -> None:
    given = [config("bpr", "fettle"), config("bpr", "cross")]
    rules = {"policies": ["random"], "thetas": []}
    assert sum(m.config.alignment is None for m in direction_methods(given, **rules)) == 1
    other = config("bpr", "cross", "backbone.dim=4")
    labels = [m.label for m in direction_methods([given[0], other], **rules)]
    assert "bpr-for-bpr+cross" in labels


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"policies": ["one_ways"]}, "did you mean 'one_way'"),
        ({"policies": ["threshold"]}, "unknown rule for directions 'threshold'"),
        ({"theta_of": ["sourc"]}, "did you mean 'source'"),
        ({"thetas": [1.5]}, "threshold 1.5"),
        ({"thetas": [float("nan")]}, "threshold nan"),
        ({"policies": ["one_way"], "thetas": []}, "nothing to compare"),
    ],
)
def test_rules_that_are_none_are_refused(config, changes: dict, fragment: str) -> None:
    with pytest.raises(ConfigError, match=fragment):
        direction_methods([config("bpr", "fettle")], **changes)


def test_alignments_without_directions_and_doubles_are_refused(config) -> None:
    with pytest.raises(ConfigError, match="'bm3' has no directions"):
        direction_methods([config("bpr", "bm3")])
    with pytest.raises(ConfigError, match=r"two configurations are called bpr\+fettle"):
        direction_methods([config("bpr", "fettle"), config("bpr", "fettle", "backbone.dim=4")])


def test_histories_are_averaged_as_far_as_all_seeds_trained(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / "a", [0.2, 0.4, 0.6]), write_run(tmp_path / "b", [0.4, 0.8])]
    history = read_direction_history(folders)
    assert history.epochs == (1, 2)
    assert history.scores["id"] == pytest.approx((0.3, 0.6))
    assert history.variances["id"] == pytest.approx((0.03, 0.06))
    assert history.shares["id_to_image"] == pytest.approx((0.15, 0.3))


def test_the_report_has_changes_agreement_and_plots(config, tmp_path: Path) -> None:
    methods = direction_methods([config("bpr", "fettle")], policies=["dynamic"], thetas=[0.0, 0.9])
    results = []
    for place, method in enumerate(methods):
        judged = {"items": 50, "decided": 40, "agreed": 30, "share": 0.75} if place == 2 else None
        folder = write_run(tmp_path / method.label, [0.1, 0.2], judged)
        values = {"recall@20": (0.1 + 0.01 * place,)}
        results.append(MethodResult(method.label, (folder,), values, values, method.base))
    report = direction_report(methods, results, "recall@20")
    one_way, dynamic, low, high = report.results
    assert one_way.change is None
    assert dynamic.change.mean == pytest.approx(0.01 / 0.11)
    assert (dynamic.agreement.mean, dynamic.decided.mean) == (0.75, 0.8)
    assert low.agreement is None
    assert (high.theta, high.rule) == (0.9, "source > 0.9")
    assert max(map(len, report.lines())) <= 80
    json.dumps(report.to_dict(), allow_nan=False)
    page = "".join(report.sections())
    assert page.count("<svg") == 1 + 2 * 3
    assert "threshold" in page
