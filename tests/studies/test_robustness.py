"""What is trained on corrupted data, and what is made of the results."""

from __future__ import annotations

import pytest

from crossalign.errors import ConfigError
from crossalign.studies.robustness import robustness_methods, robustness_report


def test_content_is_corrupted_only_for_those_that_read_it(config) -> None:
    configs = [config("bpr", "none"), config("bpr", "fettle"), config("vbpr", "none")]
    methods = robustness_methods(configs, ["noisy_content", "added_feedback"], [0.1])
    assert [(method.label, method.base) for method in methods] == [
        ("bpr", None),
        ("bpr-added_feedback-0.1", None),
        ("bpr+fettle", "bpr"),
        ("bpr+fettle-noisy_content-0.1", "bpr"),
        ("bpr+fettle-added_feedback-0.1", "bpr-added_feedback-0.1"),
        ("vbpr", None),
        ("vbpr-noisy_content-0.1", None),
        ("vbpr-added_feedback-0.1", None),
    ]


def test_graphs_and_neighbours_come_from_the_data_at_hand(config) -> None:
    given = config("bpr", "cross", "neighbors.file=clean.npz")
    for method in robustness_methods([given], ["deleted_feedback"], [0.1, 0.2]):
        assert method.config.neighbors.file is None
        assert not method.config.data.item_graphs
    ratios = [
        m.config.data.corruption_ratio for m in robustness_methods([given], ratios=[0.2, 0.1])
    ]
    assert ratios == [0, *[0.1, 0.2] * 4]


def test_without_the_backbone_alone_there_is_no_base(config) -> None:
    methods = robustness_methods([config("bpr", "fettle")], ["noisy_content"], [0.1])
    assert [method.base for method in methods] == [None, None]


@pytest.mark.parametrize(
    ("corruptions", "ratios", "fragment"),
    [
        (["noisy_contents"], [0.1], "did you mean 'noisy_content'"),
        (["none"], [0.1], "unknown corruption 'none'"),
        ([], [0.1], "no corruptions"),
        (["noisy_content"], [], "no ratios"),
        (["noisy_content"], [0.1, 0.1], "each once"),
        (["noisy_content"], [1.0], "ratio 1"),
        (["noisy_content"], [-0.1], "ratio -0.1"),
    ],
)
def test_nonsense_is_refused(config, corruptions, ratios, fragment: str) -> None:
    with pytest.raises(ConfigError, match=fragment):
        robustness_methods([config("bpr", "fettle")], corruptions, ratios)


def test_configurations_that_change_the_data_themselves_are_refused(config) -> None:
    with pytest.raises(ConfigError, match="changes its data already"):
        robustness_methods([config("bpr", "fettle", "data.content=shuffled")])


def test_drops_are_against_clean_data_and_gains_against_the_backbone(config, result) -> None:
    methods = robustness_methods(
        [config("bpr", "none"), config("bpr", "fettle")], ["noisy_content", "added_feedback"], [0.2]
    )
    results = [
        result("bpr", 0.1, 0.3),
        result("bpr-added_feedback-0.2", 0.05, 0.15),
        result("bpr+fettle", 0.2, 0.4),
        result("bpr+fettle-added_feedback-0.2", 0.1, 0.3),
        result("bpr+fettle-noisy_content-0.2", 0.2, 0.4),
    ]
    report = robustness_report(methods, results, "recall@20")
    points = {(p.method, p.corruption, p.ratio): p for p in report.points}
    assert len(points) == 2 * 2 * 2
    assert points["bpr", "noisy_content", 0.2].label == "bpr"  # it cannot notice
    assert points["bpr", "noisy_content", 0.2].change.mean == 0
    assert points["bpr", "added_feedback", 0.2].change.mean == pytest.approx(-0.5)
    assert points["bpr+fettle", "added_feedback", 0.2].change.mean == pytest.approx(-1 / 3)
    assert points["bpr+fettle", "added_feedback", 0.2].gain.mean == pytest.approx(1.0)
    assert points["bpr+fettle", "noisy_content", 0.2].gain.mean == pytest.approx(0.5)
    assert points["bpr", "added_feedback", 0.2].gain is None
    assert max(map(len, report.lines())) <= 80
    assert "".join(report.sections()).count("<svg") == 4
