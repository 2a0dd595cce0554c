"""The experiments as they are typed: end to end on little data, and every mistake in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from crossalign.cli import main

Capture = pytest.CaptureFixture[str]
ONCE = ["--seeds", "0", "--quiet"]


def run(capsys: Capture, *arguments: str | Path) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    output = capsys.readouterr()
    return code, output.out, output.err


def check(folder: Path, printed: str, name: str) -> dict:
    """What every experiment leaves; returns its JSON."""
    lines = printed.partition("study folder")[0].splitlines()
    assert all(len(line) <= 80 for line in lines)
    files = {file.name for file in folder.iterdir()}
    assert files >= {"report.html", "table.md", "table.tex", "table.csv", "study.json"}
    assert "Repeat this study" in (folder / "report.html").read_text()
    return json.loads((folder / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, tiny_file: Path) -> Path:
    """A study of directions: the backbone alone, the one-way rule and one threshold."""
    folder = tmp_path_factory.mktemp("studies") / "directions"
    arguments = ["directions", str(tiny_file), "--policies", "none", "--thetas=-1", *ONCE]
    assert main([*arguments, "--out", str(folder)]) == 0
    return folder


def test_directions_tell_agreement_and_write_histories(study: Path) -> None:
    found = check(study, "", "directions")
    one_way, threshold = found["results"]
    assert one_way["agreement"] is not None
    assert threshold["theta"] == -1
    assert set(one_way["history"]["scores"]) == {"id", "image", "text"}
    assert "by epoch" in (study / "report.html").read_text()


def test_ablate_goes_on_from_finished_runs(
    capsys: Capture, tmp_path: Path, tiny_file: Path
) -> None:
    out = tmp_path / "study"
    arguments = ["ablate", tiny_file, "--variants", "ILA,ILA+CLA", *ONCE, "--out", out]
    code, printed, _ = run(capsys, *arguments)
    assert code == 0
    assert [step["added"] for step in check(out, printed, "ablation")["recall@20"]] == ["CLA"]
    before = {file: file.stat().st_mtime_ns for file in out.rglob("metrics.json")}
    assert len(before) == 3
    assert run(capsys, *arguments)[1] == printed
    assert {file: file.stat().st_mtime_ns for file in out.rglob("metrics.json")} == before


def test_sensitivity_of_one_option(capsys: Capture, tmp_path: Path, tiny_file: Path) -> None:
    out = tmp_path / "study"
    code, printed, _ = run(
        capsys, "sensitivity", "--config", tiny_file, "--vary", "neighbors.k=2",
        "--metric", "ndcg@10", *ONCE, "--out", out,
    )  # fmt: skip
    assert code == 0
    found = check(out, printed, "sensitivity")
    assert found["metric"] == "ndcg@10"
    assert [point["values"] for point in found["curves"][0]["points"]] == [["2"], ["5"]]


def test_robustness_of_a_backbone(capsys: Capture, tmp_path: Path) -> None:
    out = tmp_path / "study"
    small = ["data.planted_users=150", "data.planted_items=100", "training.epochs=1"]
    code, printed, _ = run(
        capsys, "robustness", "--backbones", "bpr", "--defaults", "--ratios", "0,.2",
        "--corruptions", "added_feedback", *[part for s in small for part in ("--set", s)],
        *ONCE, "--out", out,
    )  # fmt: skip
    assert code == 0
    points = check(out, printed, "robustness")["points"]
    assert [point["ratio"] for point in points] == [0, 0.2]
    facts = json.loads((out / points[1]["label"] / "seed0" / "metrics.json").read_text())
    clean = json.loads((out / "bpr" / "seed0" / "metrics.json").read_text())
    added = facts["dataset_facts"]["train"] - clean["dataset_facts"]["train"]
    assert added == round(0.2 * clean["dataset_facts"]["train"])


def test_popularity_reloads_a_study_wherever_it_lies(
    capsys: Capture, tmp_path: Path, study: Path
) -> None:
    moved = shutil.copytree(study, tmp_path / "moved")
    code, printed, _ = run(
        capsys, "popularity", moved, "--groups", "2", "--out", tmp_path / "out", "--quiet"
    )
    assert code == 0
    assert max(map(len, printed.splitlines()[:-2])) <= 80
    (block,) = json.loads((tmp_path / "out" / "popularity.json").read_text())["data"]
    assert [group["name"] for group in block["groups"]] == ["1 of 2", "2 of 2"]
    for method in block["methods"]:
        metrics = json.loads((moved / method["label"] / "seed0" / "metrics.json").read_text())
        assert method["overall"]["recall@20"]["mean"] == pytest.approx(metrics["test"]["recall@20"])
        assert sum(share["mean"] for share in method["shares"]) == pytest.approx(1)
    assert (tmp_path / "out" / "popularity.csv").read_text().count("recall@20") == 6
    assert (tmp_path / "out" / "report.html").read_text().count("<svg") == 3


def test_popularity_takes_single_runs(capsys: Capture, tmp_path: Path, study: Path) -> None:
    folder = study / "lightgcn" / "seed0"
    arguments = ["popularity", folder, "--by", "interactions", "-k", "5", "--quiet"]
    code, printed, _ = run(capsys, *arguments, "--out", tmp_path / "out")
    assert code == 0
    assert "recall@5" in printed
    code, _, error = run(capsys, "popularity", folder, folder, "--out", tmp_path / "out")
    assert code == 2
    assert "give each once" in error


TWO = ["--backbones", "bpr", "--alignments", "bm3", "--defaults"]
MISTAKES = {
    "no configuration": (["ablate"], "either configuration files or --backbones"),
    "wrong alignment": (["ablate", *TWO], "not 'bm3'"),
    "unknown variant": (["ablate", "FILE", "--variants", "ILB"], "did you mean 'ILA'"),
    "no directions": (["directions", *TWO], "'bm3' has no directions"),
    "no rules": (["directions", "FILE", "--policies", "none", "--thetas", "none"], "nothing to"),
    "no numbers": (["directions", "FILE", "--thetas", "a"], "'a' is not a list"),
    "vary and grid": (["sensitivity", "--vary", "a.b=1", "--grid", "a.b=1"], "not both"),
    "one grid": (["sensitivity", "--config", "FILE", "--grid", "neighbors.k=1"], "two options"),
    "empty grid": (["sensitivity", "--grid", "neighbors.k="], "write it as key=value"),
    "twice": (["sensitivity", "--vary", "a.b=1", "--vary", "a.b=2"], "stands twice"),
    "nothing to vary": (["sensitivity", "planted"], "no alignment to vary"),
    "unknown corruption": (["robustness", "FILE", "--corruptions", "noise"], "unknown corruption"),
    "ratio": (["robustness", "FILE", "--ratios", "2"], "ratio 2"),
    "metric": (["robustness", "FILE", "--metric", "recal@20"], "did you mean 'recall'"),
    "cut-off": (["directions", "FILE", "--metric", "recall@7"], "add 7 to evaluation.ks"),
    "no run": (["popularity", "nowhere"], "nowhere is not a run folder"),
}


@pytest.mark.parametrize(("arguments", "fragment"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes_get_one_line(
    arguments: list[str], fragment: str, capsys: Capture, tmp_path: Path, tiny_file: Path
) -> None:
    given = [str(tiny_file) if word == "FILE" else word for word in arguments]
    code, _, error = run(capsys, *given, "--out", tmp_path / "out", "--quiet")
    assert code == 2
    assert fragment in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
