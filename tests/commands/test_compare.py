"""`crossalign compare`: a matrix from presets, several data sets, references, and mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crossalign.cli import main
from crossalign.studies.finished import finished_methods

SMALL = [
    "--set", "data.planted_users=150", "--set", "data.planted_items=100",
    "--set", "training.epochs=1", "--seeds", "0", "--quiet",
]  # fmt: skip
Capture = pytest.CaptureFixture[str]


def compare(capsys: Capture, *arguments: str) -> tuple[int, str, str]:
    code = main(["compare", *arguments])
    output = capsys.readouterr()
    return code, output.out, output.err


def rows(folder: Path) -> list[dict]:
    return json.loads((folder / "study.json").read_text())


@pytest.fixture
def presets(tmp_path: Path) -> Path:
    folder = tmp_path / "presets"
    (folder / "clicks").mkdir(parents=True)
    (folder / "bpr.yaml").write_text("backbone: {name: bpr, dim: 8}\n")
    fettle = "alignment: {name: fettle, n_prototypes: 16}\n"
    (folder / "bpr_fettle.yaml").write_text("backbone: {name: bpr, dim: 8}\n" + fettle)
    (folder / "clicks" / "bpr.yaml").write_text("backbone: {name: bpr, dim: 16}\n")
    return folder


@pytest.fixture
def clicks(tmp_path: Path) -> Path:
    table = tmp_path / "clicks.csv"
    lines = [f"{user},{item}" for user in range(20) for item in range(user % 3, 12)]
    table.write_text("user,item\n" + "\n".join(lines) + "\n")
    return table


def test_a_matrix_takes_its_presets_and_adds_references(
    capsys: Capture, presets: Path, tmp_path: Path
) -> None:
    out = tmp_path / "study"
    code, printed, _ = compare(
        capsys, "--backbones", "bpr", "--alignments", "none,fettle", "--presets", str(presets),
        "--data", "planted", "--references", "popularity", "--out", str(out), *SMALL,
    )  # fmt: skip
    assert code == 0
    assert max(map(len, printed.splitlines()[:-3])) <= 80
    assert "vs bpr" in printed
    assert [(row["label"], row["base"], row["reference"]) for row in rows(out)] == [
        ("bpr", None, False),
        ("bpr+fettle", "bpr", False),
        ("popularity", None, True),
    ]
    assert "dim: 8" in (out / "bpr" / "seed0" / "config.yaml").read_text()
    files = {file.name for file in out.iterdir()}
    assert files >= {"report.html", "table.md", "table.tex", "table.csv", "table.json"}
    assert (out / "references" / "popularity" / "report.html").is_file()


def test_several_data_sets_give_blocks_with_their_own_presets(
    capsys: Capture, presets: Path, clicks: Path, tmp_path: Path
) -> None:
    out = tmp_path / "study"
    fewer = [*SMALL[4:], "--set", "evaluation.ks=[5]"]
    code, printed, _ = compare(
        capsys, "--backbones", "bpr", "--presets", str(presets), "--out", str(out),
        "--data", str(clicks), "--data", "planted", *fewer,
    )  # fmt: skip
    assert code == 0
    assert [row["data"] for row in rows(out)] == ["clicks", "planted"]
    assert "dim: 16" in (out / "clicks" / "bpr" / "seed0" / "config.yaml").read_text()
    assert "dim: 8" in (out / "planted" / "bpr" / "seed0" / "config.yaml").read_text()
    assert printed.count("R@5") == 2


def test_defaults_are_taken_only_when_asked_for(
    capsys: Capture, presets: Path, tmp_path: Path
) -> None:
    """Of a missing pair, the backbone's own preset still holds."""
    given = ["--backbones", "bpr", "--alignments", "bm3", "--presets", str(presets)]
    out = ["--out", str(tmp_path / "study"), "--data", "planted", *SMALL]
    code, _, error = compare(capsys, *given, *out)
    assert code == 2
    assert "bpr_bm3.yaml" in error
    assert "--defaults" in error
    assert compare(capsys, *given, "--defaults", *out)[0] == 0
    config = (tmp_path / "study" / "bpr+bm3" / "seed0" / "config.yaml").read_text()
    assert "dim: 8" in config


def test_a_failing_run_is_told_after_the_table_of_the_others(
    capsys: Capture, tmp_path: Path
) -> None:
    (tmp_path / "bpr_cross.yaml").write_text("""
path: planted
backbone: {name: bpr}
alignment: {name: cross, cna_weight: 1.0e+39, n_prototypes: 8}
""")
    code, printed, error = compare(
        capsys, "--backbones", "bpr", "--alignments", "none,cross", "--defaults",
        "--presets", str(tmp_path), "--out", str(tmp_path / "study"), *SMALL,
    )  # fmt: skip
    assert code == 2
    assert "planted, test" in printed
    assert error.startswith("crossalign: 1 of 2 runs failed: bpr+cross/seed0 (")
    assert len(error.strip().splitlines()) == 1
    assert [row["label"] for row in rows(tmp_path / "study")] == ["bpr"]


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        ([], "either configuration files or --backbones"),
        (["a.yaml", "--backbones", "bpr"], "either configuration files or --backbones"),
        (["a.yaml", "--alignments", "bm3"], "belong to --backbones"),
        (["--backbones", "bpr"], "no --presets given"),
        (["--backbones", "bpr,", "--defaults"], "not a list of names"),
        (["--backbones", "brp", "--defaults"], "did you mean 'bpr'"),
        (["--backbones", "bpr", "--alignments", "crss", "--defaults"], "did you mean 'cross'"),
        (["--backbones", "bpr", "--defaults", "--references", "iasl"], "did you mean 'ials'"),
    ],
)
def test_contradictions_and_unknown_names_are_one_line(
    arguments: list[str], fragment: str, capsys: Capture, tmp_path: Path
) -> None:
    code, _, error = compare(capsys, *arguments, "--out", str(tmp_path / "study"), *SMALL)
    assert code == 2
    assert fragment in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "study").exists()


def test_a_preset_that_says_otherwise_is_refused(
    capsys: Capture, presets: Path, tmp_path: Path
) -> None:
    (presets / "ncl.yaml").write_text("backbone: bpr\n")
    code, _, error = compare(
        capsys,
        "--backbones",
        "ncl",
        "--presets",
        str(presets),
        "--out",
        str(tmp_path / "s"),
        *SMALL,
    )
    assert code == 2
    assert "ncl.yaml configures bpr" in error


def test_a_second_study_replaces_no_report_and_no_table_of_the_first(
    capsys: Capture, presets: Path, tmp_path: Path
) -> None:
    """It shares the runs; the same command again finds its own files; popularity reads all."""
    out = tmp_path / "study"
    given = ["--presets", str(presets), "--data", "planted", "--out", str(out), *SMALL]
    first = ["--backbones", "bpr", *given]
    assert compare(capsys, *first)[0] == 0
    before = {file.name: file.read_bytes() for file in out.iterdir() if file.is_file()}
    more = ["--backbones", "bpr", "--alignments", "none,fettle", *given]
    code, printed, _ = compare(capsys, *more, "--against", "bpr+fettle")
    assert code == 0
    assert str(out / "report-2.html") in printed
    assert "vs bpr+fettle" in printed
    assert "settings that differ" not in printed
    assert [row["label"] for row in json.loads((out / "study-2.json").read_text())] == [
        "bpr", "bpr+fettle",
    ]  # fmt: skip
    assert compare(capsys, *first)[0] == 0
    del before["studies.json"]
    assert {name: (out / name).read_bytes() for name in before} == before
    assert not (out / "report-3.html").exists()
    found = [(method.label, len(method.folders)) for method in finished_methods([out])]
    assert found == [("bpr", 1), ("bpr+fettle", 1)]


def test_a_study_of_a_version_without_a_list_keeps_its_files(
    capsys: Capture, presets: Path, tmp_path: Path
) -> None:
    """The same command finds them again by their methods and seeds; another one does not."""
    out = tmp_path / "study"
    given = ["--presets", str(presets), "--data", "planted", "--out", str(out), *SMALL]
    first = ["--backbones", "bpr", "--references", "popularity", *given]
    assert compare(capsys, *first)[0] == 0
    (out / "studies.json").unlink()
    assert compare(capsys, *first)[0] == 0
    assert not (out / "report-2.html").exists()
    (out / "studies.json").unlink()
    assert compare(capsys, "--backbones", "bpr", *given)[0] == 0
    assert (out / "report-2.html").is_file()


def test_an_unknown_rival_is_refused_before_training(
    capsys: Capture, presets: Path, tmp_path: Path
) -> None:
    code, _, error = compare(
        capsys, "--backbones", "bpr", "--presets", str(presets), "--against", "bqr",
        "--out", str(tmp_path / "study"), "--data", "planted", *SMALL,
    )  # fmt: skip
    assert code == 2
    assert "unknown --against 'bqr': did you mean 'bpr'?" in error
    assert not (tmp_path / "study").exists()
