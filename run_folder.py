"""The identity of a run: what may be continued, what must not be overwritten, what it tells."""

from __future__ import annotations

import platform
import shlex
import shutil
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .config import RunConfig, load_config, to_plain, to_yaml
from .datasets import Dataset
from .errors import RunError
from .evaluation import Metrics
from .fileio import read_json, write_text
from .run_files import (
    BEFORE,
    CATALOGUE_FILE,
    CHECKPOINT_FILE,
    COMMAND_FILE,
    CONFIG_FILE,
    HISTORY_FILE,
    METRICS_FILE,
    OWN_CODE_FILE,
    REPORT_FILE,
    TIMINGS_FILE,
    USERS_FILE,
    WEIGHTS_FILE,
)
from .run_identity import refuse_other_settings
from .training import FitResult

LEFT = (
    WEIGHTS_FILE,
    METRICS_FILE,
    CHECKPOINT_FILE,
    CATALOGUE_FILE,
    USERS_FILE,
    HISTORY_FILE,
    TIMINGS_FILE,
    REPORT_FILE,
    OWN_CODE_FILE,
)
"""What a run leaves beside its configuration, the most precious first."""


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    packages = ("torch", "dgl", "numpy", "scipy")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def require_run(folder: Path) -> Path:
    """`folder`, if a run lies there; else `RunError`."""
    if not (folder / CONFIG_FILE).is_file():
        raise RunError(
            f"{folder} is not a run folder (no {CONFIG_FILE}): give the --out of a train"
        )
    return folder


def run_config(folder: Path, data: str | None = None) -> RunConfig:
    """The configuration of a run, with its data where they lie now.

    Args:
        folder: run folder.
        data: where the data were moved; None if they are where they were.

    Raises:
        RunError: the data are not there.
    """
    config = load_config(folder / CONFIG_FILE, path=data)
    require_data(folder, config.path)
    return config


def require_data(folder: Path, path: str) -> None:
    """Raise `RunError` if the data of the run in `folder` are not at `path`."""
    if path != "planted" and not Path(path).exists():
        raise RunError(
            f"the data of {folder} are not at {path}: say where they are now with --data"
        )


def refuse_taken_folder(folder: Path, config: RunConfig, *, resume: bool) -> None:
    """Refuse to overwrite a run, or to continue one of other settings."""
    if (folder / CONFIG_FILE).exists() and not resume:
        raise RunError(
            f"{folder} already holds a run: continue it with --resume, or choose another --out"
        )
    refuse_other_settings(folder, config)
    if (folder / METRICS_FILE).is_file():
        trained_less(folder, config)


def set_aside(folder: Path) -> Path:
    """Move what a run left into a folder of its own, so that the run can be begun anew.

    A kill in between loses nothing: all is there under its new names before an old one goes.

    Returns:
        A run folder, `before-<number>`, inside `folder`.
    """
    left = [name for name in LEFT if (folder / name).exists()]
    number = 1
    while (aside := folder / f"{BEFORE}{number}").exists():
        number += 1
    fresh = aside.with_name(f".{aside.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)  # of one that was killed
    try:
        fresh.mkdir()
        for name in (CONFIG_FILE, *left):
            shutil.copy2(folder / name, fresh / name)
        fresh.rename(aside)
        for name in left:
            (folder / name).unlink()
    except OSError as error:
        reason = error.strerror or error
        raise RunError(f"cannot write {aside}: {reason}; free some space, then again") from error
    return aside


def refuse_run_folder(folder: str | Path) -> None:
    """Refuse to write the results of something else into the folder of a run."""
    if (Path(folder) / CONFIG_FILE).exists():
        raise RunError(f"{folder} holds a run, whose report would be lost: choose another --out")


def save_config(folder: Path, config: RunConfig) -> None:
    """Write `config.yaml`, which makes `folder` a run folder."""
    write_text(folder / CONFIG_FILE, to_yaml(config))


def remember_command(folder: Path, command: str, config: RunConfig, *, resume: bool) -> str:
    """Write `command.txt`, before `save_config`, and return the commands that repeat the run.

    A resume of the same configuration only finishes what another command began, so that one stays;
    a resume that asks for more is a line after it.

    Args:
        folder: run folder.
        command: the command of this process, or an empty string.
        config: what it trains.
        resume: whether it continues the run in `folder`, if there is one.
    """
    if resume and (folder / CONFIG_FILE).is_file():
        before = _earlier_commands(folder)
        same = to_plain(load_config(folder / CONFIG_FILE)) == to_plain(config)
        command = before if same or not command else f"{before}\n{command}"
    write_text(folder / COMMAND_FILE, command + "\n")
    return command


def _earlier_commands(folder: Path) -> str:
    """What made the run so far; of runs of earlier versions, what is known."""
    if (folder / COMMAND_FILE).is_file():
        return (folder / COMMAND_FILE).read_text(encoding="utf-8").strip()
    if (folder / METRICS_FILE).is_file():
        known = str(read_json(folder / METRICS_FILE).get("command", ""))
        if known and "--resume" not in known:
            return known
    return f"crossalign train --config {shlex.quote(str(folder / CONFIG_FILE))} --out NEW_FOLDER"


def finished_metrics(folder: Path) -> dict[str, Any]:
    """What `metrics.json` of a finished run says, with numbers under `valid` and `test`.

    Raises:
        RunError: the file is missing or damaged.
    """
    found = read_json(folder / METRICS_FILE)
    for split in ("valid", "test"):
        values = found.get(split)
        if not isinstance(values, dict) or not all(
            isinstance(value, int | float) for value in values.values()
        ):
            raise RunError(
                f"{folder / METRICS_FILE} is damaged (no numbers under '{split}'): put back a copy "
                "of it, or delete it and resume the run, which writes it again"
            )
    return found


def refuse_other_data(folder: Path, path: str, data_hash: str) -> None:
    """Raise `RunError` if the finished run in `folder` was trained on other data.

    Args:
        folder: run folder.
        path: where the data lie, for the message.
        data_hash: `dataset_hash` of the data as they are now.
    """
    recorded = read_json(folder / METRICS_FILE).get("data_hash")  # older runs have none
    if recorded not in (None, data_hash):
        raise RunError(
            f"{folder} was trained on other data than {path} holds now: restore the data or say "
            "where they are (--data), or train anew into another folder"
        )


def trained_less(folder: Path, config: RunConfig) -> bool:
    """Whether the finished run in `folder` had fewer epochs or less patience than `config` says.

    Raises:
        RunError: it had more, which cannot be taken back.
    """
    had, wanted = load_config(folder / CONFIG_FILE).training, config.training
    for name in ("epochs", "patience"):
        if getattr(had, name) > getattr(wanted, name):
            raise RunError(
                f"{folder} was trained with training.{name} = {getattr(had, name)}, more than "
                f"{getattr(wanted, name)}: use the same settings or another --out"
            )
    return had.epochs < wanted.epochs or had.patience < wanted.patience


def summarise(
    config: RunConfig, dataset: Dataset, result: FitResult, valid: Metrics, test: Metrics
) -> dict[str, Any]:
    """What `metrics.json` says of a finished run, but times and versions."""
    facts = {
        "users": dataset.n_users,
        "items": dataset.n_items,
        "modalities": list(dataset.modalities),
        **{split: dataset.split(split).shape[1] for split in ("train", "valid", "test")},
        "intake": dataset.intake and asdict(dataset.intake),
        "notes": list(dataset.notes),
    }
    about = {"dataset": dataset.name, "dataset_facts": facts}
    return {**summarise_training(config, result, valid, test), **about}


def summarise_training(
    config: RunConfig, result: FitResult, valid: Metrics, test: Metrics
) -> dict[str, Any]:
    """The part of `summarise` that needs no data set."""
    return {
        "backbone": config.backbone.name,
        "alignment": config.alignment.name if config.alignment else "none",
        "seed": config.seed,
        "monitor": config.training.monitor,
        "best_epoch": result.best_epoch,
        "epochs": len(result.history),
        "valid": valid.to_dict(),
        "test": test.to_dict(),
    }
