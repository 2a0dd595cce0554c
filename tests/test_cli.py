"""The command line: what a stranger types works, and every mistake gets one clear line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from crossalign.cli import main

SMALL = ["--set", "data.planted_users=150", "--set", "data.planted_items=100"]
SHORT = [*SMALL, "--set", "training.epochs=1", "--quiet"]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `crossalign ARGUMENTS`."""
    code = main(list(arguments))
    output = capsys.readouterr()
    return code, output.out, output.err


def recall_row(out: str) -> list[str]:
    """The printed row of test recalls."""
    rows = out[out.index("test, ") :].splitlines()
    return next(row for row in rows if row.startswith("recall")).split()


def test_train_evaluate_and_resume_work_from_the_command_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = str(tmp_path / "run")
    code, out, _ = run(capsys, "train", "planted", "--backbone", "bpr", "--out", folder, *SHORT)
    assert code == 0
    assert "report.html" in out
    trained = recall_row(out)

    code, out, _ = run(capsys, "evaluate", folder)
    assert code == 0
    assert recall_row(out) == trained

    more = ["--set", "training.epochs=2", "--quiet"]
    assert run(capsys, "train", "--resume", folder, *more)[0] == 0
    assert len((tmp_path / "run" / "history.jsonl").read_text().splitlines()) == 2


def test_describe_prints_the_statistics(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "describe", "planted", *SMALL)
    assert code == 0
    assert "150" in out
    assert max(len(line) for line in out.splitlines()) <= 80


def test_neighbors_writes_a_file_that_training_reads(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = str(tmp_path / "neighbors.npz")
    assert run(capsys, "neighbors", "planted", "-k", "6", "-o", file, *SMALL, "--quiet")[0] == 0
    assert np.load(file, allow_pickle=False)["ids"].shape == (100, 6)
    arguments = ["--alignment", "cross", "--set", f"neighbors.file={file}", *SHORT]
    assert run(capsys, "train", "planted", "--out", str(tmp_path / "run"), *arguments)[0] == 0


def test_a_neighbour_file_of_another_search_or_replaced_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Options that the file was not made with; a run that goes on with other neighbours."""
    file, out = str(tmp_path / "neighbors.npz"), str(tmp_path / "run")
    made = ["neighbors", "planted", "-o", file, *SMALL, "--quiet"]
    assert run(capsys, *made, "-k", "6")[0] == 0
    train = ["train", "planted", "--alignment", "cross", "--set", f"neighbors.file={file}", *SHORT]
    code, _, error = run(capsys, *train, "--set", "neighbors.score=jaccard", "--out", out)
    assert code == 2
    assert "was made with neighbors.score=count, not jaccard" in error
    assert run(capsys, *train, "--out", out)[0] == 0
    Path(file).unlink()
    assert run(capsys, *made, "-k", "9")[0] == 0
    code, _, error = run(capsys, "train", "--resume", out, "--set", "training.epochs=2")
    assert code == 2
    assert "another" in error


def test_a_run_is_not_read_with_other_data_than_it_was_trained_on(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Its weights would be of other users: wrong metrics, and lists for the wrong people."""
    rows = [f"{user},i{(user * item) % 11}" for user in range(12) for item in range(1, 7)]
    file, out = tmp_path / "interactions.csv", str(tmp_path / "run")
    file.write_text("user,item\n" + "\n".join(dict.fromkeys(rows)) + "\n")
    train = ["train", str(tmp_path), "--backbone", "bpr", "--set", "training.epochs=1", "--quiet"]
    assert run(capsys, *train, "--out", out)[0] == 0
    file.write_text(file.read_text().replace("\n0,", "\n99,"))
    for command in (["evaluate", out], ["export", out, "--out", str(tmp_path / "shop")]):
        code, _, error = run(capsys, *command)
        assert code == 2
        assert "was trained on other data" in error
    assert not (tmp_path / "shop").exists()


def test_an_output_that_is_full_is_told_in_one_line() -> None:
    command = [sys.executable, "-m", "crossalign", "list"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert "crossalign: output: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_search_ranks_by_validation(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = run(
        capsys, "search", "planted", "--backbone", "bpr", "--grid", "backbone.dim=4,8",
        "--out", str(tmp_path / "search"), *SHORT,
    )  # fmt: skip
    assert code == 0
    assert "dim=4" in out
    assert "dim=8" in out


def test_list_and_doctor_answer(capsys: pytest.CaptureFixture[str]) -> None:
    listed = run(capsys, "list")[1]
    assert all(name in listed for name in ("lightgcn", "fettle", "mmrec"))
    assert max(map(len, listed.splitlines())) <= 80
    assert "torch" in run(capsys, "doctor")[1]


@pytest.mark.parametrize("command", ["train", "describe", "neighbors", "search"])
def test_help_lists_every_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main([command, "--help"])
    out = capsys.readouterr().out
    assert leaving.value.code == 0
    assert "training.learning_rate" in out
    assert "backbone.n_layers [lightgcn]" in out


def missing_folder(tmp: Path) -> list[str]:
    return ["describe", str(tmp / "nothing")]


def unknown_folder(tmp: Path) -> list[str]:
    return ["describe", str(tmp)]


def nan_feature(tmp: Path) -> list[str]:
    (tmp / "x.inter").write_text("userID\titemID\tx_label\n" + mmrec_rows())
    features = np.ones((4, 3), np.float32)
    features[2, 1] = np.nan
    np.save(tmp / "image_feat.npy", features)
    return ["describe", str(tmp)]


def too_few_feature_rows(tmp: Path) -> list[str]:
    (tmp / "x.inter").write_text("userID\titemID\tx_label\n" + mmrec_rows())
    np.save(tmp / "image_feat.npy", np.ones((3, 3), np.float32))
    return ["describe", str(tmp)]


def negative_id(tmp: Path) -> list[str]:
    (tmp / "x.inter").write_text("userID\titemID\tx_label\n-1\t0\t0\n" + mmrec_rows())
    return ["describe", str(tmp)]


def empty_split(tmp: Path) -> list[str]:
    (tmp / "x.inter").write_text("userID\titemID\tx_label\n0\t0\t0\n1\t1\t0\n")
    return ["train", str(tmp), "--out", str(tmp / "run")]


def foreign_pickle(tmp: Path) -> list[str]:
    import pickle

    for name in ("trnMat", "valMat", "tstMat"):
        (tmp / f"{name}.pkl").write_bytes(pickle.dumps(os.system))
    return ["describe", str(tmp)]


def mmrec_rows() -> str:
    rows = [(u, i, 0) for u in range(4) for i in (u, (u + 1) % 4)]
    rows += [(0, 2, 1), (1, 3, 2)]
    return "".join(f"{u}\t{i}\t{label}\n" for u, i, label in rows)


MISTAKES: list[tuple[str, Callable[[Path], list[str]] | list[str], str]] = [
    ("no command", [], "--help"),
    ("unknown command", ["trian"], "trian"),
    ("unknown argument", ["train", "planted", "--backbon", "x", "--frobnicate"], "--"),
    ("unknown backbone", ["train", "planted", "--backbone", "lightgnc"], "'lightgcn'"),
    ("unknown alignment", ["train", "planted", "--alignment", "crss"], "'cross'"),
    ("unknown option", ["train", "planted", "--set", "training.epoch=2"], "'epochs'"),
    ("unknown section", ["train", "planted", "--set", "trainin.epochs=2"], "'training'"),
    ("bad value", ["train", "planted", "--set", "training.batch_size=0"], "batch_size"),
    ("bad monitor", ["train", "planted", "--set", "training.monitor=recal@20"], "'recall'"),
    ("bad device", ["train", "planted", "--set", "training.device=tpu"], "device"),
    ("bad cut-off", ["train", "planted", "--set", "evaluation.ks=[0]", *SMALL], "evaluation.ks"),
    ("bad override", ["train", "planted", "--set", "training.epochs"], "key=value"),
    ("missing config", ["train", "--config", "none.yaml"], "none.yaml"),
    ("missing data", missing_folder, "nothing"),
    ("unrecognised folder", unknown_folder, ".inter"),
    ("NaN feature", nan_feature, "features of 'image': NaN in row 2"),
    ("wrong feature rows", too_few_feature_rows, "image_feat"),
    ("negative id", negative_id, "-1"),
    ("empty split", empty_split, "has training rows alone"),
    ("foreign pickle", foreign_pickle, "trnMat.pkl"),
    ("not a run", ["evaluate", "no-such-run"], "no-such-run"),
    ("resume nothing", ["train", "--resume", "no-such-run"], "no-such-run"),
    ("bad seeds", ["demo", "--seeds", "a", "--out", "x"], "--seeds"),
    ("bad grid", ["search", "planted", "--grid", "backbone.dim", "--out", "x"], "--grid"),
    ("bad k", ["neighbors", "planted", "-k", "0", "-o", "x.npz"], "k"),
    (
        "missing neighbour file",
        ["train", "planted", "--alignment", "cross", "--set", "neighbors.file=no.npz", *SMALL],
        "no.npz",
    ),
]


@pytest.mark.parametrize(
    ("make", "fragment"), [pytest.param(make, text, id=name) for name, make, text in MISTAKES]
)
def test_every_mistake_gets_one_line_and_exit_code_2(
    make: Callable[[Path], list[str]] | list[str],
    fragment: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = make if isinstance(make, list) else make(tmp_path)
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert err.startswith("crossalign: ")
    assert len(err.strip().splitlines()) == 1, err
    assert fragment in err


def test_a_full_disk_is_one_line_too(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    code, _, err = run(
        capsys, "train", "planted", "--backbone", "bpr", "--out", str(tmp_path / "run"), *SHORT
    )
    assert code == 2
    assert "free some space" in err
    assert not [file for file in tmp_path.rglob("*") if ".tmp" in file.name]


def test_the_module_is_the_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "crossalign", "describe", "nowhere"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("crossalign: ")
    assert "Traceback" not in done.stderr
