"""The run that is shipped: an earlier one's configuration, on all rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..config import RunConfig, load_config
from ..datasets import load_dataset
from ..errors import ConfigError, RunError
from ..fileio import read_json
from ..graphs import dataset_hash
from ..run_files import CONFIG_FILE, METRICS_FILE
from ..run_folder import refuse_other_data, require_run


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
    metrics = _measured(run)
    refuse_other_data(
        run, config.path, dataset_hash(load_dataset(config.path, options=config.data))
    )
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


def _measured(run: Path) -> dict[str, Any]:
    """What the finished run in `run` says of itself."""
    if not (run / METRICS_FILE).is_file():
        raise RunError(f"{run} holds no finished run: a refit needs its best number of epochs")
    metrics = read_json(run / METRICS_FILE)
    if not metrics.get("test"):
        raise RunError(f"{run} held nothing out, so it has no best epoch: refit the run before it")
    return metrics
