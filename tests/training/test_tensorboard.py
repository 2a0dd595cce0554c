"""`--tensorboard` writes the history as scalars, goes on after a kill, and says what to install."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from crossalign.cli import main
from crossalign.errors import ConfigError
from crossalign.training import TrainingOptions
from crossalign.training.tensorboard import tensorboard_log

OPTIONS = TrainingOptions(epochs=6, batch_size=64, checkpoint_every=2)
TINY = ["--set", "data.planted_users=60", "--set", "data.planted_items=40", "--quiet"]


class Stop(Exception):
    pass


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Name -> step and value, as TensorBoard shows them."""
    read = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {
        name: [(event.step, event.value) for event in read.Scalars(name)]
        for name in read.Tags()["scalars"]
    }


def history(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def check(found: dict[str, list[tuple[int, float]]], rows: list[dict[str, float]]) -> None:
    """Every number of every row is there, once, and nothing else."""
    assert found.keys() == {name for row in rows for name in row if name != "epoch"}
    for name, points in found.items():
        want = [(row["epoch"], row[name]) for row in rows if name in row]
        assert [step for step, _ in points] == [epoch for epoch, _ in want]
        assert [value for _, value in points] == pytest.approx([value for _, value in want])


def test_the_command_writes_losses_diagnostics_metrics_and_learning_rate(tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = ["train", "planted", "--alignment", "fettle", "--tensorboard", "--out", str(run)]
    more = ["--set", "training.epochs=2", "--set", "alignment.n_prototypes=8"]
    assert main([*arguments, *more, *TINY]) == 0
    found = scalars(run / "tensorboard")
    check(found, history(run))
    assert {"learning_rate", "loss", "loss/bpr", "valid/recall@20"} <= found.keys()
    assert any(name.startswith("diagnostics/direction/") for name in found)


def test_a_resumed_run_has_every_epoch_once(run_tiny, tmp_path: Path) -> None:
    """Epoch 3 is written, taken back to the checkpoint of epoch 2, and written again."""
    with tensorboard_log(tmp_path / "tensorboard") as log:

        def write_and_stop(row: dict) -> None:
            log(row)
            if row["epoch"] == 3:
                raise Stop

        with pytest.raises(Stop):
            run_tiny(tmp_path, OPTIONS, on_epoch=write_and_stop)
    assert [step for step, _ in scalars(tmp_path / "tensorboard")["loss"]] == [1, 2, 3]
    with tensorboard_log(tmp_path / "tensorboard") as log:
        run_tiny(tmp_path, OPTIONS, resume=True, on_epoch=log)
    check(scalars(tmp_path / "tensorboard"), history(tmp_path))


def test_a_study_writes_them_for_every_run(tmp_path: Path) -> None:
    config = tmp_path / "bpr.yaml"
    config.write_text("backbone: {name: bpr, dim: 8}\ntraining: {epochs: 1}\n")
    arguments = ["compare", str(config), "--seeds", "0,1", "--tensorboard", "--out", "study"]
    arguments[-1] = str(tmp_path / "study")
    assert main([*arguments, *TINY]) == 0
    for seed in (0, 1):
        assert "loss" in scalars(tmp_path / "study" / "bpr" / f"seed{seed}" / "tensorboard")


def test_nothing_is_written_without_the_option_or_a_row(tmp_path: Path) -> None:
    assert (
        main(["train", "planted", "--set", "training.epochs=1", "--out", str(tmp_path), *TINY]) == 0
    )
    assert not (tmp_path / "tensorboard").exists()
    with tensorboard_log(tmp_path / "tensorboard"):
        pass
    assert not (tmp_path / "tensorboard").exists()


@pytest.mark.parametrize("command", ["train planted", "compare x.yaml", "probe --mask-modality"])
def test_without_the_package_one_line_says_what_to_install(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tensorboard" else find(name)
    )
    out = tmp_path / "out"
    assert main([*command.split(), "--tensorboard", "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert "pip install tensorboard" in error
    assert len(error.splitlines()) == 1
    assert not out.exists()
    with pytest.raises(ConfigError, match="not installed"), tensorboard_log(out):
        pass
