"""A second study in a folder replaces nothing of the first; a continued one finds its files."""

from __future__ import annotations

from pathlib import Path

from crossalign.report import claim_files

ONE = ("compare", ["bpr", "ncl"], [0, 1])


def names(folder: Path, *study: object) -> tuple[str, str]:
    files = claim_files(folder, *study)
    return files.path("report.html").name, files.path("table.md").name


def test_the_first_study_has_plain_names_and_keeps_them(tmp_path):
    assert names(tmp_path, *ONE) == ("report.html", "table.md")
    assert names(tmp_path, *ONE) == ("report.html", "table.md")


def test_another_kind_other_methods_and_other_seeds_are_other_studies(tmp_path):
    names(tmp_path, *ONE)
    assert names(tmp_path, "ablate", *ONE[1:]) == ("report-2.html", "table-2.md")
    assert names(tmp_path, "compare", ["bpr"], [0, 1]) == ("report-3.html", "table-3.md")
    assert names(tmp_path, "compare", ["bpr", "ncl"], [0]) == ("report-4.html", "table-4.md")
    assert names(tmp_path, *ONE) == ("report.html", "table.md")


def test_a_report_that_no_list_names_is_left_alone(tmp_path):
    """Of an older version, or of a search for hyper-parameters."""
    (tmp_path / "report.html").write_text("old")
    assert names(tmp_path, *ONE) == ("report-2.html", "table-2.md")
