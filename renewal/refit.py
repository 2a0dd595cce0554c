"""The run that is shipped: an earlier one's configuration, on all rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..config import RunConfig, load_config
from ..datasets import Dataset
from ..errors import ConfigError, DataError, RunError
from ..evidence.choice import Choice
from ..evidence.options import NONE
from ..fileio import read_json
from ..run_data import data_of_run
from ..run_files import CONFIG_FILE, METRICS_FILE
from ..run_folder import require_run


def refit_config(run: str | Path, data: str | None = None) -> RunConfig:
    """The configuration of `run`, for its best number of epochs on the rows of all splits.

    Args:
        run: a finished run that held rows out.
        data: where its data lie now; None if they are where they were.

    Raises:
        RunError: the run is not finished, held nothing out, or was trained on other data.
    """
    run = require_run(Path(run))
    config = load_config(run / CONFIG_FILE, path=data)
    if not config.data.hold_out:
        raise RunError(f"{run} holds nothing out, so it has no best epoch: refit one that does")
    metrics = _measured(run)
    config, _ = data_of_run(run, config)
    return replace(
        config,
        refit_of=str(run),
        data=replace(config.data, hold_out=False),
        training=replace(config.training, epochs=metrics["best_epoch"]),
    )


def described_by(config: RunConfig) -> dict[str, Any]:
    """Scores of the run that a refit repeats, for its own summary; nothing for any other run.

    Raises:
        ConfigError: the refit holds rows out.
        RunError: the earlier run is not there, or not finished.
    """
    if config.refit_of is None:
        return {}
    if config.data.hold_out:
        raise ConfigError("option 'refit_of' has no effect on a run that holds rows out: leave it")
    metrics = _measured(Path(config.refit_of))
    return {
        "valid": metrics["valid"],
        "test": metrics["test"],
        "measured_on": {
            "run": config.refit_of,
            "train": metrics.get("dataset_facts", {}).get("train"),
        },
    }


def refuse_unvalidated(config: RunConfig, dataset: Dataset) -> None:
    """Raise where nothing is held out and something has yet to be chosen on validation.

    Raises:
        DataError: an epoch, since nobody said that the number of epochs is fixed.
        ConfigError: evidence.
    """
    chosen = config.evidence.kind != NONE and config.refit_of is None
    if not dataset.holds_out and chosen:
        raise ConfigError(
            "option 'evidence.kind' needs rows to validate on: set it to none, or train with rows "
            "held out and refit that run"
        )
    if not dataset.holds_out and config.data.hold_out:
        raise DataError(
            f"'{dataset.name}' has training rows alone, so that no epoch can be chosen: give rows "
            "to validate and test on, or set data.hold_out=false and training.epochs to train for "
            "a fixed number of epochs"
        )


def take_evidence(config: RunConfig, folder: Path) -> None:
    """Leave in a run folder the evidence that the run refitted chose on validation, if any."""
    if config.evidence.kind != NONE and config.refit_of is not None:
        Choice.load(Path(config.refit_of)).save(folder)


def _measured(run: Path) -> dict[str, Any]:
    """What the finished run in `run` says of itself."""
    if not (run / METRICS_FILE).is_file():
        raise RunError(f"{run} holds no finished run: a refit needs its best number of epochs")
    return read_json(run / METRICS_FILE)
