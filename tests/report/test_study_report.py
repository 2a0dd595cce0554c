"""Methods side by side: the numbers, the best, the gains, and the links."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from crossalign.errors import RunError
from crossalign.report import write_study_report

BEST = ["0.3000 ± 0.0000", "0.1300 ± 0.0100"]
"""Best means of validation and test."""


@dataclass(frozen=True)
class Method:
    label: str
    folders: tuple[Path, ...]
    base: str | None = None
    data: str = ""
    reference: bool = False


def rows(path: Path) -> list[list[str]]:
    """Cells of the first table, tags taken off."""
    table = re.search(r"<table>.*?</table>", path.read_text(), re.DOTALL)[0]
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in table.split("</tr>")[:-1]]
    return [[re.sub(r"<[^>]+>", "", cell) for cell in row] for row in cells]


@pytest.fixture
def methods(make_run):
    def runs(name, values, valid):
        return tuple(
            make_run(
                f"{name}-{seed}",
                seed=seed,
                test={"recall@20": test, "ndcg@20": test},
                valid={"recall@20": valid},
            )
            for seed, test in enumerate(values)
        )

    return [
        Method("alone", runs("alone", [0.10, 0.12, 0.11], 0.2)),
        Method("aligned", runs("aligned", [0.13, 0.12, 0.14], 0.3), "alone"),
    ]


def test_table_shows_mean_spread_and_gain(methods, tmp_path):
    path = write_study_report(tmp_path, methods, ["recall@20"])
    assert path == tmp_path / "report.html"
    assert rows(path) == [
        ["method", "validation Recall@20", "Recall@20"],
        ["alone", "0.2000 ± 0.0000", "0.1100 ± 0.0100"],
        ["aligned", "0.3000 ± 0.0000 chosen", "0.1300 ± 0.0100 +18.2%"],
    ]
    assert "over 3 seeds" in path.read_text()


def test_methods_without_a_base_show_no_gain(methods, tmp_path):
    free = [replace(method, base=None) for method in methods]
    path = write_study_report(tmp_path, free, ["recall@20"])
    assert "%" not in "".join(row[2] for row in rows(path)[1:])


def test_a_base_that_failed_leaves_no_gain(methods, tmp_path):
    path = write_study_report(tmp_path, methods[1:], ["recall@20"])
    assert rows(path)[1][2] == "0.1300 ± 0.0100"


def test_every_data_set_has_its_own_table(methods, tmp_path):
    other = [replace(method, data="other") for method in methods]
    path = write_study_report(tmp_path, [*methods, *other], ["recall@20"])
    text = path.read_text()
    assert "Test metrics on other" in text
    assert re.findall(r"<strong>(.*?)</strong>", text) == [*BEST, *BEST]


def test_the_command_that_repeats_the_study_is_there(methods, tmp_path):
    path = write_study_report(tmp_path, methods, ["recall@20"], command="crossalign compare x")
    assert "crossalign compare x" in path.read_text()


def test_only_the_best_mean_is_bold(methods, tmp_path):
    text = write_study_report(tmp_path, methods, ["recall@20"]).read_text()
    assert re.findall(r"<strong>(.*?)</strong>", text) == BEST


def test_a_search_shows_validation_and_says_so(methods, tmp_path):
    path = write_study_report(tmp_path, methods, ["recall@20"], "valid")
    assert rows(path)[1] == ["alone", "0.2000 ± 0.0000"]
    assert "Validation metrics" in path.read_text()
    assert "The test split" not in path.read_text()


def test_links_lead_to_every_run_by_relative_paths(methods, tmp_path):
    path = write_study_report(tmp_path / "study", methods, ["recall@20"])
    links = re.findall(r'href="([^"#][^"]*)"', path.read_text())
    assert links == [f"../{run.name}/report.html" for method in methods for run in method.folders]


def test_there_is_a_plot_for_every_metric(methods, tmp_path):
    text = write_study_report(tmp_path, methods, ["recall@20", "ndcg@20"]).read_text()
    assert text.count("<svg") == 2


def test_one_seed_has_no_spread(methods, tmp_path):
    single = [Method(method.label, method.folders[:1]) for method in methods]
    path = write_study_report(tmp_path, single, ["recall@20"])
    assert rows(path)[1] == ["alone", "0.2000", "0.1000"]


def test_a_metric_that_no_run_has_is_dashed(methods, tmp_path):
    path = write_study_report(tmp_path, methods, ["recall@20", "mrr@7"])
    assert [row[3] for row in rows(path)[1:]] == ["–", "–"]
    assert path.read_text().count("<svg") == 1
    assert "nan" not in path.read_text().lower()


def test_labels_are_escaped_and_nothing_is_fetched(methods, tmp_path):
    hostile = [Method("<img src=x>", methods[0].folders)]
    text = write_study_report(tmp_path, hostile, ["recall@20"], title="<b>").read_text()
    assert "<img" not in text
    assert "<b>" not in text
    assert "://" not in text


@pytest.mark.parametrize("methods", [[], [Method("alone", ())]])
def test_nothing_to_compare_is_refused(methods, tmp_path):
    with pytest.raises(RunError, match="nothing to compare"):
        write_study_report(tmp_path, methods, ["recall@20"])
