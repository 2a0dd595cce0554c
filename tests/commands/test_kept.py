"""What is kept stays: one writer a folder, no weights lost, rot noticed, moved data found."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from crossalign.cli import main
from crossalign.locks import LOCK_FILE, only_writer

BPR = [
    "--backbone", "bpr", "--set", "backbone.dim=8", "--set", "training.batch_size=128",
    "--set", "training.learning_rate=0.02", "--quiet",
]  # fmt: skip
CONFIG = """
backbone: {name: bpr, dim: 8}
training: {epochs: 1}
data: {planted_users: 60, planted_items: 40}
"""


def write_data(folder: Path) -> Path:
    """A data folder of 30 users with 8 of 20 items each."""
    rng, folder = np.random.default_rng(0), folder / "d"
    folder.mkdir()
    rows = [f"{u},{i}" for u in range(30) for i in sorted(rng.choice(20, 8, replace=False))]
    (folder / "interactions.csv").write_text("user,item\n" + "\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data `d`, a run `r`, an export `s`, and neighbours `n.npz` and `near`."""
    folder = tmp_path_factory.mktemp("finished")
    data = str(write_data(folder))
    run = [*BPR, "--set", "training.epochs=3", "--out", str(folder / "r")]
    assert main(["train", data, *run]) == 0
    assert main(["export", str(folder / "r"), "--out", str(folder / "s")]) == 0
    assert main(["neighbors", data, "-o", str(folder / "n.npz"), "--quiet"]) == 0
    assert main(["neighbors", data, "-o", str(folder / "near"), "--quiet"]) == 0
    (folder / "c.yaml").write_text(CONFIG)
    return folder


@pytest.fixture
def place(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `finished` to do harm to, as the working folder."""
    shutil.copytree(finished, tmp_path / "x")
    monkeypatch.chdir(tmp_path / "x")
    text = (tmp_path / "x" / "r" / "config.yaml").read_text()
    (tmp_path / "x" / "r" / "config.yaml").write_text(text.replace(str(finished / "d"), "d"))
    return tmp_path / "x"


def refused(capsys: pytest.CaptureFixture[str], command: str) -> str:
    """The one line in which a command is refused."""
    capsys.readouterr()
    assert main(command.split()) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("crossalign: ")
    assert "\n" not in said
    return said


WRITERS = {
    "train": ("train d --quiet --out new", "new"),
    "resume": ("train --resume r --quiet --set training.epochs=9", "r"),
    "compare": ("compare c.yaml --quiet --out new", "new"),
    "search": ("search planted --config c.yaml --grid backbone.dim=4 --quiet --out new", "new"),
    "tune": ("tune c.yaml --trials 1 --quiet --out new", "new"),
    "export": ("export r --out s --replace", "s"),
    "neighbors folder": ("neighbors d --quiet -o near", "near"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_second_writer_is_refused_and_told_of_the_first(
    name: str, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crossalign.locks.PATIENCE", 0.0)
    command, folder = WRITERS[name]
    with only_writer(folder):
        before = sorted(place.rglob("*"))
        said = refused(capsys, command)
        assert f"being written by another process (pid {os.getpid()} on " in said
        assert sorted(place.rglob("*")) == before
    assert not (place / folder / LOCK_FILE).exists()


def test_a_second_writer_of_a_file_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crossalign.locks.PATIENCE", 0.0)
    with only_writer("n.npz"):
        assert "n.npz is being written" in refused(capsys, "neighbors d --quiet -o n.npz")


def test_a_lock_dies_with_its_process(place: Path) -> None:
    script = "import os; from crossalign.locks import hold; from pathlib import Path; "
    script += "hold(Path('r/.lock')); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", script], check=False)
    assert (place / "r" / LOCK_FILE).exists()
    assert main(["train", "--resume", "r", "--quiet", "--set", "training.epochs=4"]) == 0
    assert not (place / "r" / LOCK_FILE).exists()


LEFT = {
    "neighbors": ("neighbors d --quiet -o n.npz", ".n.{}.tmp.npz"),
    "run": ("train --resume r --quiet --set training.epochs=4", "r/.checkpoint.{}.tmp.pt"),
    "metrics": ("train --resume r --quiet --set training.epochs=4", "r/.metrics.{}.tmp.json"),
    "export": ("export r --out s --replace", "s/.new-{}"),
    "recommend": ("recommend s --quiet -o lists.csv", ".lists.{}.tmp.csv"),
    "popularity": ("popularity r --groups 2 --quiet --out p", "p/.report.{}.tmp.html"),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_a_killed_process_left_is_swept(name: str, place: Path) -> None:
    command, pattern = LEFT[name]
    left = place / pattern.format(12345)
    left.parent.mkdir(exist_ok=True)
    left.mkdir() if "new-" in pattern else left.write_text("half")
    assert main(command.split()) == 0
    assert not left.exists()


def test_what_a_living_process_writes_stays(place: Path) -> None:
    living = place / ".n.12345.tmp.npz"
    with living.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert main(["neighbors", "d", "--quiet", "-o", "n.npz"]) == 0
        assert living.exists()


def test_a_lost_checkpoint_loses_no_weights(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused; begun anew when asked, beside what was there, which still evaluates as before."""
    longer = "train --resume r --quiet --set training.epochs=4"
    (place / "r" / "checkpoint.pt").unlink()
    kept = {
        name: (place / "r" / name).read_bytes() for name in ("model.safetensors", "metrics.json")
    }
    for lost in (None, "metrics.json", "history.jsonl"):
        if lost is not None:
            (place / "r" / lost).unlink()
        assert "no checkpoint.pt" in refused(capsys, longer)
    assert (place / "r" / "model.safetensors").read_bytes() == kept["model.safetensors"]
    (place / "r" / "metrics.json").write_bytes(kept["metrics.json"])
    assert main([*longer.split(), "--anew"]) == 0
    assert "r/before-1, kept as it was" in capsys.readouterr().out
    assert len((place / "r" / "history.jsonl").read_text().splitlines()) == 4
    for name, content in kept.items():
        assert (place / "r" / "before-1" / name).read_bytes() == content
    assert main(["evaluate", "r/before-1"]) == 0
    assert "name its folder with --resume" in refused(capsys, "train d --anew")


def flip(file: Path, part: float) -> None:
    """Turn one bit around, at a part of the file."""
    raw = bytearray(file.read_bytes())
    raw[int(part * len(raw))] ^= 0x10
    file.write_bytes(raw)


ROT = {
    "checkpoint": ("r/checkpoint.pt", "train --resume r --quiet --set training.epochs=5"),
    "weights": ("r/model.safetensors", "evaluate r"),
    "vectors": ("s/vectors.safetensors", "recommend s --users 1"),
    "seen": ("s/seen.npz", "recommend s --users 1"),
    "items": ("s/items.csv", "recommend s --users 1"),
    "users": ("s/users.csv", "recommend s --users 1"),
    "index": ("s/items.faiss", "recommend s --users 1"),
    "neighbours": ("n.npz", "train d --alignment cna --set neighbors.file=n.npz --out new"),
}


@pytest.mark.parametrize("part", [0.35, 0.5, 0.65])
@pytest.mark.parametrize("name", ROT)
def test_a_flipped_bit_is_noticed(
    name: str, part: float, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, command = ROT[name]
    if name == "neighbours":
        command = "train planted --config near.yaml --out new"
        (place / "near.yaml").write_text(CONFIG + "alignment: cna\nneighbors: {file: p.npz}\n")
        planted = ["neighbors", "planted", "--config", "c.yaml", "-o", "p.npz", "--quiet"]
        assert main(planted) == 0
        file = "p.npz"
    flip(place / file, part)
    assert "damaged" in refused(capsys, command)


NUMBERS = {
    "no mapping": ("[]", "no mapping"),
    "empty": ("{}", "no numbers under 'valid'"),
    "deep": ("[" * 100_000 + "]" * 100_000, "damaged"),
    "text": ('{"valid": {"recall@20": "a"}, "test": {}}', "no numbers under 'valid'"),
    "half": ('{"valid": {', "damaged"),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_odd_metrics_are_refused(
    name: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, message = NUMBERS[name]
    (place / "r" / "metrics.json").write_text(text)
    assert message in refused(capsys, "export r --out new")


def test_changed_metrics_are_noticed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = place / "r" / "metrics.json"
    found = json.loads(file.read_text())
    found["test"]["recall@20"] += 0.1
    file.write_text(json.dumps(found))
    assert "its checksum is wrong" in refused(capsys, "export r --out new")


def _change(content: dict, change: Callable) -> None:
    for state in content["optimizer"]["state"].values():
        change(state)


ODD = {
    "moments of another shape": lambda c: _change(c, lambda s: s.update(exp_avg=torch.zeros(3))),
    "moments of another type": lambda c: _change(
        c, lambda s: s.update(exp_avg_sq=s["exp_avg_sq"].double())
    ),
    "negative squares": lambda c: _change(c, lambda s: s["exp_avg_sq"].fill_(-1)),
    "no number": lambda c: _change(c, lambda s: s["exp_avg"].fill_(torch.nan)),
    "no moments": lambda c: _change(c, lambda s: s.pop("exp_avg")),
    "step as text": lambda c: _change(c, lambda s: s.update(step="7")),
    "too many": lambda c: c["optimizer"]["state"].update({99: {}}),
    "weights of another shape": lambda c: c["modules"].update(
        {name: table[:-1] for name, table in c["modules"].items()}
    ),
    "epochs": lambda c: c["state"].update(epoch=1000),
    "generator": lambda c: c["rngs"].update(torch=torch.zeros(3, dtype=torch.uint8)),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_an_odd_checkpoint_never_crashes(
    name: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was written by something else is whole, and yet no kernel may be given it."""
    file = place / "r" / "checkpoint.pt"
    content = torch.load(file, weights_only=True)
    ODD[name](content)
    torch.save(content, file)
    assert "holds another model" in refused(
        capsys, "train --resume r --quiet --set training.epochs=5"
    )


def test_hostile_checkpoint_gives_no_advice_to_run_it(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = place / "r" / "checkpoint.pt"
    with zipfile.ZipFile(file) as archive:
        members = {one: archive.read(one) for one in archive.namelist()}
    hostile = b"cos\nsystem\n(S'touch PWNED'\ntR."
    with zipfile.ZipFile(file, "w") as archive:
        for one, raw in members.items():
            archive.writestr(one, hostile if one.endswith("data.pkl") else raw)
    said = refused(capsys, "train --resume r --quiet --set training.epochs=5")
    assert "more than tensors, numbers and text" in said
    assert "weights_only" not in said
    assert not (place / "PWNED").exists()


def _edit(file: str, change: Callable[[dict], None]) -> Callable[[Path], None]:
    """Change arrays of an export of an earlier version, which has no checksums."""

    def edit(place: Path) -> None:
        about = json.loads((place / "s/about.json").read_text())
        del about["sha256"], about["checksum"]
        (place / "s/about.json").write_text(json.dumps(about))
        if file.endswith(".npz"):
            with np.load(place / "s" / file) as archive:
                arrays = dict(archive)
            change(arrays)
            np.savez(place / "s" / file, **arrays)
        elif file.endswith(".csv"):
            lines = (place / "s" / file).read_text().splitlines()
            found = {"lines": lines}
            change(found)
            (place / "s" / file).write_text("\n".join(found["lines"]) + "\n")
        else:
            from safetensors.torch import load_file, save_file

            tensors = load_file(place / "s" / file)
            change(tensors)
            save_file(tensors, place / "s" / file)

    return edit


def _items(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Path], None]:
    return _edit("vectors.safetensors", lambda t: t.update(item=change(t["item"]).contiguous()))


def _seen(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    return _edit("seen.npz", lambda a: a.update({name: change(a[name])}))


PARTS = {
    "another width": _items(lambda x: x[:, :5]),
    "another type": _items(lambda x: x.double()),
    "a flat table": _items(lambda x: x[:, 0]),
    "fewer items": _items(lambda x: x[:-1]),
    "no numbers": _items(lambda x: x * torch.inf),
    "items below zero": _seen("indices", lambda a: a - 1000),
    "items too large": _seen("indices", lambda a: a + 1000),
    "rows backwards": _seen("indptr", lambda a: a[::-1].copy()),
    "items as floats": _seen("indices", lambda a: a * 1.0),
    "a user twice": _edit("users.csv", lambda f: f["lines"].__setitem__(2, f["lines"][1])),
}


@pytest.mark.parametrize("name", PARTS)
def test_parts_that_do_not_belong_together_are_refused(
    name: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    PARTS[name](place)
    assert "s is damaged" in refused(capsys, "recommend s --users 1")


def test_a_part_of_another_export_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = ["--set", "training.epochs=1", "--seed", "1", "--out", "other"]
    assert main(["train", "d", *BPR, *other]) == 0
    assert main(["export", "other", "--out", "t"]) == 0
    shutil.copy("t/vectors.safetensors", "s/vectors.safetensors")
    assert "vectors.safetensors is not the file" in refused(capsys, "recommend s --users 1")


MOVED = {
    "evaluate": "evaluate r --data e",
    "export": "export r --out new --data e",
    "resume": "train --resume r --data e --quiet --set training.epochs=4",
    "resume with DATA": "train e --resume r --quiet --set training.epochs=4",
    "resume with path": "train --resume r --set path=e --quiet --set training.epochs=4",
    "probe": "probe --run r --clusters 4 --quiet --data e",
    "popularity": "popularity r --groups 2 --quiet --out p --data e",
}


@pytest.mark.parametrize("name", MOVED)
def test_moved_data_are_found_and_other_data_refused(
    name: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "d").rename(place / "e")
    if name != "resume with DATA" and "path=" not in MOVED[name]:
        bare = MOVED[name].replace(" --data e", "")
        assert "--data" in refused(capsys, bare)
    rows = (place / "e/interactions.csv").read_text()
    (place / "e/interactions.csv").write_text(rows + "29,19\n29,18\n29,17\n")
    said = refused(capsys, MOVED[name])
    assert "other data" in said or "another configuration or data set" in said
    (place / "e/interactions.csv").write_text(rows)
    assert main(MOVED[name].split()) == 0


def test_a_moved_run_goes_on_from_where_its_data_are_then(place: Path) -> None:
    """Once resumed with moved data, a run knows their place."""
    (place / "d").rename(place / "e")
    assert (
        main(["train", "--resume", "r", "--data", "e", "--quiet", "--set", "training.epochs=4"])
        == 0
    )
    assert main(["train", "--resume", "r", "--quiet", "--set", "training.epochs=5"]) == 0
    assert main(["evaluate", "r"]) == 0


STREAMS = ["2>/dev/full", "2>&-", ">&-", ">&- 2>&-", "<&- 2>&-"]


@pytest.mark.parametrize("streams", STREAMS)
def test_streams_that_cannot_be_written_end_no_training(streams: str, place: Path) -> None:
    shown = " ".join(BPR).replace(" --quiet", "")
    command = f"{sys.executable} -m crossalign train d {shown} --set training.epochs=2 --out new"
    done = subprocess.run(
        ["bash", "-c", f"{command} {streams}"], check=False, stdout=subprocess.DEVNULL
    )
    assert done.returncode == 0
    assert len((place / "new/history.jsonl").read_text().splitlines()) == 2
    assert main(["evaluate", "new"]) == 0


INSIDE = {
    "lists": "recommend s -o s/users.csv --quiet",
    "run": "train d --out s",
    "run inside": "train d --out s/new",
    "neighbors": "neighbors d -o s/items.npz",
    "encode": "encode planted -o s/seen.npz",
    "study": "compare c.yaml --out s",
}


@pytest.mark.parametrize("name", INSIDE)
def test_nothing_is_written_into_an_export(
    name: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {file: file.read_bytes() for file in (place / "s").iterdir()}
    assert "in the export" in refused(capsys, INSIDE[name])
    assert {file: file.read_bytes() for file in (place / "s").iterdir()} == before


SENSELESS = {
    "cut-off": "evaluation.ks=[1000000000000]",
    "no cut-off": "evaluation.ks=[0]",
    "cut-offs": "evaluation.ks=[]",
    "metric": "training.monitor=recal@20",
    "no monitor": "training.monitor=recall",
    "monitor": "training.monitor=recall@1000000000000",
}


@pytest.mark.parametrize("name", SENSELESS)
def test_senseless_metrics_are_refused_before_training(
    name: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(capsys, f"train d --out new --set {SENSELESS[name]}")
    assert not (place / "new").exists()


def test_a_cut_off_beyond_the_catalogue_is_that_of_the_catalogue(place: Path) -> None:
    """However large: no memory is taken for it."""
    ks = ["--set", "evaluation.ks=[20,999999999]", "--set", "training.monitor=ndcg@999999999"]
    assert main(["train", "d", *BPR, "--set", "training.epochs=1", *ks, "--out", "new"]) == 0
    test = json.loads((place / "new/metrics.json").read_text())["test"]
    assert test["recall@999999999"] == test["recall@20"] == 1.0


def test_a_name_that_is_not_utf8_is_no_obstacle(place: Path) -> None:
    """Neither for the run, nor for its report, nor on a terminal of ASCII alone."""
    name = os.fsdecode(b"caf\xe9")
    (place / "d").rename(place / name)
    out = os.fsdecode(b"run\xe9")
    train = ["train", name, *BPR, "--set", "training.epochs=1", "--out", out]
    command = [sys.executable, "-m", "crossalign"]
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*command, *train], env=ascii_only, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    again = [*command, "evaluate", out]
    assert subprocess.run(again, env=ascii_only, capture_output=True, check=False).returncode == 0
