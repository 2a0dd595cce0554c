"""`crossalign probe` and `crossalign controls` as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crossalign.cli import main

SMALL = ["--set", "data.planted_users=150", "--set", "data.planted_items=100", "--quiet"]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    output = capsys.readouterr()
    return code, output.out, output.err


def test_probe_prints_the_protocols_and_writes_them(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, out, _ = run(capsys, "probe", "planted", "--raw", "--out", str(tmp_path), *SMALL)
    assert code == 0
    assert "zero-shot max" in out
    assert "item-CF on raw features" in out
    assert json.loads((tmp_path / "probe.json").read_text())["dataset"] == "planted"


def test_probe_of_a_run_writes_beside_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    short = ["--set", "training.epochs=1", *SMALL]
    assert (
        run(capsys, "train", "planted", "--backbone", "lightgcn", "--out", str(folder), *short)[0]
        == 0
    )
    code, out, _ = run(capsys, "probe", "--run", str(folder), "--clusters", "8")
    assert code == 0
    assert "k-means, 8 clusters" in out
    assert json.loads((folder / "probe.json").read_text())["views"] == ["id"]


def test_mask_modality_trains_one_run_a_ratio(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, out, _ = run(
        capsys, "probe", "planted", "--mask-modality", "--backbone", "vbpr", "--ratios", "0,.5",
        "--out", str(tmp_path), "--set", "training.epochs=1", *SMALL,
    )  # fmt: skip
    assert code == 0
    assert "mask_ratio=0.5" in out
    assert (tmp_path / "mask_ratio=0.5" / "seed0" / "metrics.json").is_file()
    assert (tmp_path / "report.html").is_file()


def test_controls_train_and_say_what_survives(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = tmp_path / "aligned.yaml"
    config.write_text("alignment: {name: fettle, n_prototypes: 16}\ntraining: {epochs: 1}\n")
    arguments = ["controls", str(config), "--seeds", "0", "--out", str(tmp_path / "study"), *SMALL]
    code, out, _ = run(capsys, *arguments)
    assert code == 0
    assert "shuffled" in out
    written = json.loads((tmp_path / "study" / "controls.json").read_text())
    assert [row["content"] for row in written["recall@20"]] == [
        "given",
        "shuffled",
        "constant",
        "random",
    ]
    assert run(capsys, *arguments)[1] == out  # from the finished runs


MISTAKES = {
    "a run and data": (["probe", "planted", "--run", "x"], "a run knows its data"),
    "no run": (["probe", "--run", "nowhere"], "nowhere is not a run folder"),
    "no folder": (["probe", "planted", "--mask-modality"], "give --out"),
    "two probes": (["probe", "--run", "x", "--mask-modality"], "not allowed with"),
    "ratio above one": (["probe", "planted", "--mask-modality", "--ratios", "0,2"], "shares of 0"),
    "no ratios": (["probe", "planted", "--mask-modality", "--ratios", "a"], "'a' is not a list"),
    "negative shrink": (["probe", "planted", "--shrink=-1"], "'-1' is not a number of at least 0"),
    "unknown control": (["describe", "planted", "--set", "data.content=noise"], "data.content"),
    "ratio option": (["describe", "planted", "--set", "data.mask_ratio=1.5"], "data.mask_ratio"),
    "no alignment": (["controls", "none.yaml", "--out", "x"], "none.yaml does not exist"),
}


@pytest.mark.parametrize(("arguments", "fragment"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes_get_one_line(
    arguments: list[str],
    fragment: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    assert fragment in err
