"""What is trained for the content controls, and what is made of the results."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossalign.config import RunConfig, load_config
from crossalign.errors import ConfigError
from crossalign.studies.content_controls import control_methods, control_report
from crossalign.studies.study import MethodResult


def config(backbone: str, alignment: str, *overrides: str) -> RunConfig:
    return load_config(None, overrides, backbone=backbone, alignment=alignment)


def test_a_backbone_of_ids_is_trained_alone_once() -> None:
    methods = control_methods([config("lightgcn", "fettle"), config("lightgcn", "cross")])
    assert [(method.label, method.base) for method in methods] == [
        ("lightgcn", None),
        ("lightgcn+fettle", "lightgcn"),
        ("lightgcn+fettle-shuffled", "lightgcn"),
        ("lightgcn+fettle-constant", "lightgcn"),
        ("lightgcn+fettle-random", "lightgcn"),
        ("lightgcn+cross", "lightgcn"),
        ("lightgcn+cross-shuffled", "lightgcn"),
        ("lightgcn+cross-constant", "lightgcn"),
        ("lightgcn+cross-random", "lightgcn"),
    ]
    assert [method.config.data.content for method in methods[1:5]] == [
        "given",
        "shuffled",
        "constant",
        "random",
    ]


@pytest.mark.parametrize("backbone", ["vbpr", "freedom"])
def test_a_backbone_that_reads_content_is_trained_alone_under_each(backbone: str) -> None:
    methods = {method.label: method for method in control_methods([config(backbone, "fettle")])}
    for content in ("shuffled", "constant", "random"):
        aligned = methods[f"{backbone}+fettle-{content}"]
        assert aligned.base == f"{backbone}-{content}"
        alone = methods[aligned.base].config
        assert alone.alignment is None
        assert alone.data == aligned.config.data


def test_backbones_with_other_options_have_bases_of_their_own() -> None:
    slow = config("lightgcn", "cross", "training.learning_rate=1e-5")
    methods = control_methods([config("lightgcn", "fettle"), slow])
    bases = {method.label: method.base for method in methods}
    assert bases["lightgcn+cross"] == "lightgcn-for-lightgcn+cross"
    by_label = {method.label: method for method in methods}
    assert by_label["lightgcn-for-lightgcn+cross"].config.training.learning_rate == 1e-5


def test_each_data_set_has_its_own_bases() -> None:
    configs = [
        load_config(None, [], path=path, backbone="lightgcn", alignment="cross")
        for path in ("data/toys", "data/clicks.csv")
    ]
    methods = control_methods(configs)
    assert [(method.data, method.label) for method in methods if method.base is None] == [
        ("toys", "lightgcn"),
        ("clicks", "lightgcn"),
    ]
    assert {method.config.path for method in methods if method.data == "clicks"} == {
        "data/clicks.csv"
    }


def test_ready_graphs_are_left_out_of_every_run() -> None:
    assert not any(m.config.data.item_graphs for m in control_methods([config("bpr", "cross")]))


def test_a_configuration_without_alignment_and_one_given_twice_are_refused() -> None:
    with pytest.raises(ConfigError, match="'lightgcn' has no alignment to control"):
        control_methods([config("lightgcn", "none")])
    with pytest.raises(ConfigError, match=r"two configurations are called lightgcn\+cross"):
        control_methods([config("lightgcn", "cross"), config("lightgcn", "cross")])


def result(label: str, *values: float) -> MethodResult:
    return MethodResult(label, (Path(label),), {}, {"recall@20": values})


def test_gains_are_taken_seed_by_seed_and_shares_of_the_given_gain() -> None:
    methods = control_methods([config("lightgcn", "cross")])
    results = [
        result("lightgcn", 0.10, 0.20),
        result("lightgcn+cross", 0.14, 0.24),
        result("lightgcn+cross-shuffled", 0.11, 0.21),
        result("lightgcn+cross-constant", 0.10, 0.19),
        result("lightgcn+cross-random", 0.14, 0.24),
    ]
    report = control_report(methods, results, ["recall@20"])
    gains = {gain.content: gain for gain in report.gains["recall@20"]}
    assert gains["given"].gain == pytest.approx(0.04)
    assert gains["given"].alone == pytest.approx(0.15)
    assert gains["given"].spread == pytest.approx(0.0, abs=1e-12)
    assert gains["given"].survives is None
    assert gains["shuffled"].survives == pytest.approx(0.25)
    assert gains["constant"].survives == pytest.approx(-0.125)
    assert gains["random"].survives == pytest.approx(1.0)
    assert max(map(len, report.lines())) <= 80
    assert report.to_dict()["recall@20"][1]["content"] == "shuffled"


@pytest.mark.parametrize("given", [(0.09, 0.19), (0.16, 0.18)], ids=["loss", "within its spread"])
def test_nothing_survives_of_a_gain_that_is_not_there(given: tuple[float, float]) -> None:
    methods = control_methods([config("lightgcn", "cross")])
    values = [(0.10, 0.20), given, *[(0.12, 0.22)] * 3]
    results = [result(m.label, *v) for m, v in zip(methods, values, strict=True)]
    report = control_report(methods, results, ["recall@20"])
    assert all(gain.survives is None for gain in report.gains["recall@20"])
