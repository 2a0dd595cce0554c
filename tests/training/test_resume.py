"""A killed run loses nothing: resuming gives the history of a run that was never interrupted."""

import errno
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from crossalign.errors import RunError
from crossalign.training import TrainingOptions, load_weights

OPTIONS = TrainingOptions(epochs=8, batch_size=64, learning_rate=0.02, patience=50)


class Stop(Exception):
    pass


def stop_after(epoch):
    def on_epoch(row):
        if row["epoch"] == epoch:
            raise Stop

    return on_epoch


def interrupted(run_tiny, folder, options, epoch):
    with pytest.raises(Stop):
        run_tiny(folder, options, on_epoch=stop_after(epoch))


@pytest.mark.parametrize("checkpoint_every", [1, 3])
@pytest.mark.parametrize("epoch", [1, 4, 7])
def test_resumed_run_equals_uninterrupted_run(run_tiny, tmp_path, epoch, checkpoint_every):
    options = TrainingOptions(
        epochs=8, batch_size=64, learning_rate=0.02, checkpoint_every=checkpoint_every
    )
    whole, whole_modules = run_tiny(tmp_path / "whole", options)
    interrupted(run_tiny, tmp_path / "parts", options, epoch)
    parts, parts_modules = run_tiny(tmp_path / "parts", options, resume=True)
    for name in ("history.jsonl", "model.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    assert parts.best_epoch == whole.best_epoch
    assert parts.best_valid == whole.best_valid
    for one, other in zip(whole_modules, parts_modules, strict=True):
        for name, tensor in one.state_dict().items():
            assert torch.equal(tensor, other.state_dict()[name]), name


def test_killed_at_random_moments(tmp_path):
    """SIGKILL hits training, evaluation and writing; the script is this folder's conftest."""
    seed = random.randrange(2**32)
    script = Path(__file__).with_name("conftest.py")
    out = subprocess.run(
        [sys.executable, script, tmp_path, str(seed)],
        capture_output=True, text=True, timeout=600, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert out.returncode == 0, f"seed {seed}: {out.stderr}"
    assert len(json.loads(out.stdout)) >= 2, f"seed {seed}: it was hardly ever killed"
    for name in ("history.jsonl", "model.safetensors"):
        peace, fire = ((tmp_path / run / name).read_bytes() for run in ("peace", "fire"))
        assert peace == fire, f"seed {seed}: {name} differs, killed after {out.stdout}"
    assert not list((tmp_path / "fire").glob(".*")), "temporary files were left behind"


class Crash(BaseException):
    pass


def crashing(function, crash_at, calls, torn):
    """`function`, which breaks off at call number `crash_at`, after half its work if `torn`."""

    def call(path, data):
        calls.append(path)
        if len(calls) == crash_at:
            if torn:
                function(path, bytes(data)[:99])
            raise Crash
        return function(path, data)

    return call


@pytest.mark.parametrize("torn", [True, False], ids=["torn", "before-rename"])
def test_crash_at_any_write_is_survived(run_tiny, tmp_path, monkeypatch, torn):
    """One crash at each file in turn: in the middle of writing it, or just before its rename."""
    options = TrainingOptions(epochs=4, batch_size=64, learning_rate=0.02)
    calls: list = []
    owner, name = (Path, "write_bytes") if torn else (os, "replace")
    monkeypatch.setattr(owner, name, crashing(getattr(owner, name), 0, calls, torn))
    run_tiny(tmp_path / "whole", options)
    monkeypatch.undo()
    assert len(calls) >= 5
    for crash_at in range(1, len(calls) + 1):
        folder = tmp_path / str(crash_at)
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, crashing(getattr(owner, name), crash_at, [], torn))
            with pytest.raises(Crash):
                run_tiny(folder, options)
        run_tiny(folder, options, resume=True)
        for file in ("history.jsonl", "model.safetensors"):
            assert (folder / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_history_holds_no_wall_clock_times(run_tiny, tmp_path):
    run_tiny(tmp_path, OPTIONS)
    rows = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    times = [json.loads(line) for line in (tmp_path / "timings.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == list(range(1, 9)) == [row["epoch"] for row in times]
    assert not any("second" in name or "time" in name for row in rows for name in row)
    assert all(row["train"] > 0 and row["valid"] > 0 for row in times)


def test_rows_written_after_the_last_checkpoint_are_taken_back(run_tiny, tmp_path):
    options = TrainingOptions(epochs=8, batch_size=64, checkpoint_every=3)
    interrupted(run_tiny, tmp_path, options, 5)
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 5
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write('{"epoch": 6, "lo')  # a line cut off by the kill
    run_tiny(tmp_path, options, resume=True)
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == list(range(1, 9))


def test_resuming_a_finished_run_returns_its_result(run_tiny, tmp_path):
    first, _ = run_tiny(tmp_path, OPTIONS)
    rows: list = []
    again, _ = run_tiny(tmp_path, OPTIONS, resume=True, on_epoch=rows.append)
    assert rows == []
    assert again == first


def test_a_finished_run_can_be_lengthened(run_tiny, tmp_path):
    longer = TrainingOptions(epochs=12, batch_size=64, learning_rate=0.02, patience=50)
    whole, _ = run_tiny(None, longer)
    run_tiny(tmp_path, OPTIONS)
    parts, _ = run_tiny(tmp_path, longer, resume=True)
    assert parts.history == whole.history


def test_resume_in_an_empty_folder_begins(run_tiny, tmp_path):
    fresh, _ = run_tiny(None, OPTIONS)
    resumed, _ = run_tiny(tmp_path / "new", OPTIONS, resume=True)
    assert resumed.history == fresh.history


def test_folder_of_another_run_is_not_overwritten(run_tiny, tmp_path):
    run_tiny(tmp_path, OPTIONS)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(RunError, match=r"already holds a run: resume it, or choose another"):
        run_tiny(tmp_path, OPTIONS)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_checkpoint_of_another_configuration_is_refused(run_tiny, tmp_path):
    interrupted(run_tiny, tmp_path, OPTIONS, 2)
    with pytest.raises(RunError, match="another configuration or data set") as error:
        run_tiny(tmp_path, OPTIONS, resume=True, fingerprint="other")
    assert "\n" not in str(error.value)


def test_checkpoint_of_another_model_is_refused(run_tiny, tmp_path):
    interrupted(run_tiny, tmp_path, OPTIONS, 2)
    with pytest.raises(RunError, match="holds another model") as error:
        run_tiny(tmp_path, OPTIONS, resume=True, alignment=None)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, -1])
def test_damaged_checkpoint_gives_one_line(run_tiny, tmp_path, keep):
    interrupted(run_tiny, tmp_path, OPTIONS, 2)
    path = tmp_path / "checkpoint.pt"
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if keep == 0.5 else keep])
    with pytest.raises(RunError, match=r"is damaged .* begin anew") as error:
        run_tiny(tmp_path, OPTIONS, resume=True)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [{"a": 1}, [1, 2], {"version": 99, "fingerprint": ""}])
def test_foreign_checkpoint_gives_one_line(run_tiny, tmp_path, content):
    torch.save(content, tmp_path / "checkpoint.pt")
    with pytest.raises(RunError, match=r"checkpoint\.pt (is damaged|has format)") as error:
        run_tiny(tmp_path, OPTIONS, resume=True)
    assert "\n" not in str(error.value)


def test_checkpoint_cannot_run_code(run_tiny, tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "pwned"),))

    torch.save({"version": 1, "fingerprint": "", "state": Evil()}, tmp_path / "checkpoint.pt")
    with pytest.raises(RunError, match="is damaged"):
        run_tiny(tmp_path, OPTIONS, resume=True)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("name", ["checkpoint", "model"])
def test_full_disk_keeps_the_last_files(run_tiny, tmp_path, monkeypatch, name):
    """The disk fills up while epoch 3 is written: one line, old files whole, resume goes on."""
    whole, _ = run_tiny(None, OPTIONS)
    interrupted(run_tiny, tmp_path, OPTIONS, 2)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    write = Path.write_bytes

    def full(path, data):
        if name in path.name:
            write(path, bytes(data)[:50])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RunError, match=r"No space left on device; free some space"):
        run_tiny(tmp_path, OPTIONS, resume=True)
    monkeypatch.undo()
    if name == "checkpoint":
        assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert not list(tmp_path.glob(".*"))
    resumed, _ = run_tiny(tmp_path, OPTIONS, resume=True)
    assert resumed.history == whole.history


def test_best_weights_load_into_a_fresh_model(run_tiny, tmp_path, tiny_mf):
    _, (backbone, alignment) = run_tiny(tmp_path, OPTIONS)
    fresh = tiny_mf(40, 24)
    load_weights(tmp_path, fresh)
    assert torch.equal(fresh.user, backbone.user)
    other = type(alignment)(8, 6)
    load_weights(tmp_path / "model.safetensors", fresh, other)
    for name, tensor in alignment.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])


def test_unusable_weights_give_one_line(run_tiny, tmp_path, tiny_mf):
    with pytest.raises(RunError, match="does not exist"):
        load_weights(tmp_path, tiny_mf(40, 24))
    run_tiny(tmp_path, OPTIONS)
    with pytest.raises(RunError, match="holds another model") as error:
        load_weights(tmp_path, tiny_mf(41, 24))
    assert "\n" not in str(error.value)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(RunError, match="is damaged") as error:
        load_weights(tmp_path, tiny_mf(40, 24))
    assert "\n" not in str(error.value)
