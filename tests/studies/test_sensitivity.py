"""Options varied one at a time and two together."""

from __future__ import annotations

import pytest

from crossalign.errors import ConfigError
from crossalign.studies.sensitivity import (
    one_at_a_time,
    sensitivity_methods,
    sensitivity_report,
    two_together,
    usual_options,
)

KEY = "alignment.ila_weight"


def test_the_configured_value_takes_its_place_and_is_trained_once(config) -> None:
    whole = config("bpr", "fettle", "alignment.ila_weight=0.01")
    varied = one_at_a_time(whole, {KEY: ["1e-1", 1e-3, 0.01], "training.batch_size": [64]})
    assert {k: [m.label for m in points.values()] for k, points in varied.items()} == {
        (KEY,): [f"{KEY}=0.001", "preset", f"{KEY}=0.1"],
        ("training.batch_size",): ["training.batch_size=64", "preset"],
    }
    methods = sensitivity_methods(whole, varied)
    assert [m.label for m in methods] == [
        "alone", f"{KEY}=0.001", "preset", f"{KEY}=0.1", "training.batch_size=64",
    ]  # fmt: skip
    assert methods[1].config.alignment.options["ila_weight"] == 1e-3
    assert methods[1].base == "preset"
    assert methods[2].config == whole


def test_the_usual_options_are_those_the_alignment_has(config) -> None:
    assert set(usual_options(config("bpr", "cross"))) >= {
        KEY, "alignment.cna_weight", "alignment.cna_temperature", "neighbors.k",
    }  # fmt: skip
    assert "neighbors.k" not in usual_options(config("bpr", "fettle"))
    assert "alignment.weight" in usual_options(config("bpr", "cla"))
    with pytest.raises(ConfigError, match="no alignment to vary"):
        usual_options(config("bpr", "none"))


@pytest.mark.parametrize(
    ("key", "values", "fragment"),
    [
        ("alignment.ila_wieght", [1], "did you mean 'ila_weight'"),
        ("alignement.ila_weight", [1], "cannot be varied"),
        ("seed", [1, 2], "cannot be varied"),
        ("data.split_seed", [1, 2], "cannot be varied"),
        (KEY, ["heavy"], "ila_weight"),
        ("training.batch_size", [0], "batch_size"),
        (KEY, [0.01], "no value but 0.01"),
    ],
)
def test_what_cannot_be_varied_is_refused_in_one_line(config, key, values, fragment) -> None:
    with pytest.raises(ConfigError, match=fragment) as error:
        one_at_a_time(config("bpr", "fettle"), {key: values})
    assert "\n" not in str(error.value)


def test_an_alignment_that_is_not_there_cannot_be_varied(config) -> None:
    with pytest.raises(ConfigError, match="cannot be varied: no alignment is set"):
        one_at_a_time(config("bpr", "none"), {KEY: [1]})


def test_validation_chooses_and_the_test_split_is_told(config, result) -> None:
    varied = one_at_a_time(config("bpr", "fettle"), {KEY: [0.1, 1.0]})
    results = [
        result("alone", 0.1, 0.2),
        result("preset", 0.2, 0.4, valid=(0.5, 0.5)),
        result(f"{KEY}=0.1", 0.3, 0.5, valid=(0.6, 0.7)),
        result(f"{KEY}=1", 0.9, 0.9, valid=(0.1, 0.1)),
    ]
    report = sensitivity_report(varied, results, "recall@20")
    (curve,) = report.curves
    assert curve.best.label == f"{KEY}=0.1"
    assert curve.change.mean == pytest.approx(0.1 / 0.3)
    assert report.alone.mean == pytest.approx(0.15)
    text = "\n".join(report.lines())
    assert "+33.3%" in text
    assert max(map(len, report.lines())) <= 80
    assert "0.01*" in report.sections()[0]


def test_two_options_give_a_heat_map_of_all_pairs(config, result) -> None:
    grid = {KEY: [0.1, 1.0], "neighbors.k": [3, 5]}
    varied = two_together(config("bpr", "cross"), grid)
    (points,) = varied.values()
    assert list(points) == [("0.1", "3"), ("0.1", "5"), ("1", "3"), ("1", "5")]
    last = points["1", "5"].config
    assert (last.alignment.options["ila_weight"], last.neighbors.k) == (1.0, 5)
    labels = [method.label for method in points.values()]
    results = [result(label, 0.1 * place) for place, label in enumerate(["alone", *labels])]
    report = sensitivity_report(varied, results, "recall@20")
    svg = report.sections()[0]
    assert all(f">{value}<" in svg for value in ("0.1000", "0.2000", "0.3000", "0.4000"))
    assert report.curves[0].change is None
    with pytest.raises(ConfigError, match="takes two options, not 1"):
        two_together(config("bpr", "cross"), {KEY: [1]})
