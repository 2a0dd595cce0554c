"""The identity of a run: what may be continued, what must not be overwritten, what it tells."""

from __future__ import annotations

import hashlib
import json
import platform
import shlex
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .align import ALIGNERS
from .config import RunConfig, load_config, to_plain, to_yaml
from .datasets import Dataset
from .errors import RunError
from .evaluation import Metrics
from .evidence.options import NONE, EvidenceOptions
from .fileio import read_json, write_text
from .graphs import dataset_hash, load_neighbors
from .graphs.content_hash import tensor_hash
from .run_files import COMMAND_FILE, CONFIG_FILE, METRICS_FILE
from .training import FitResult

WITHOUT_EFFECT = frozenset(
    {
        "cache_dir",
        "imports",
        "training.epochs",
        "training.patience",
        "training.checkpoint_every",
        "training.device",
        "graph.memory_mib",
        "neighbors.memory_mib",
        "neighbors.workers",
    }
)
"""Options that do not change what an epoch computes: a run may be resumed with others."""


def run_fingerprint(config: RunConfig, dataset: Dataset) -> str:
    """Hash of data and configuration: a checkpoint is only continued under an equal one.

    Options without effect on an epoch are left out, so that a run can be lengthened; so is
    evidence, which is added once the model is trained.
    """
    settings = {(key, value) for key, value in _settings(config) if not _of_evidence(key)}
    identity: list[Any] = [sorted(settings), dataset_hash(dataset)]
    file = config.neighbors.file
    if file is not None and reads_neighbors(config):  # the file may have been made anew
        identity.append(tensor_hash(load_neighbors(file).ids))
    text = json.dumps(identity)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _settings(config: RunConfig) -> set[tuple[str, str]]:
    """Dotted keys and values of what determines the numbers of a run."""
    settings = set()
    for key, value in to_plain(config).items():
        inner = value if isinstance(value, dict) else {"": value}
        settings |= {(f"{key}.{name}".strip("."), repr(v)) for name, v in inner.items()}
    unread = set(WITHOUT_EFFECT)
    if not reads_neighbors(config):
        unread |= {key for key, _ in settings if key.startswith("neighbors.")}
    if config.evidence.kind == NONE:
        unread |= {key for key, _ in settings if _of_evidence(key)}
    return {(key, value) for key, value in settings if key not in unread}


def _of_evidence(key: str) -> bool:
    return key.startswith(f"{EvidenceOptions.section}.")


def reads_neighbors(config: RunConfig) -> bool:
    """Whether the alignment is given a table of neighbours."""
    aligned = config.alignment
    return aligned is not None and ALIGNERS[aligned.name].cls.wants_neighbors(aligned.options)


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


def refuse_taken_folder(folder: Path, config: RunConfig, *, resume: bool) -> None:
    """Refuse to overwrite a run, or to continue one of other settings."""
    if (folder / CONFIG_FILE).exists() and not resume:
        raise RunError(
            f"{folder} already holds a run: continue it with --resume, or choose another --out"
        )
    refuse_other_settings(folder, config)
    if (folder / METRICS_FILE).is_file():
        trained_less(folder, config)


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


def refuse_other_settings(folder: Path, config: RunConfig) -> None:
    """Raise `RunError` naming the options in which the run in `folder` differs from `config`."""
    file = folder / CONFIG_FILE
    differing = _settings(load_config(file)) ^ _settings(config) if file.exists() else set()
    if differing:
        keys = ", ".join(sorted({key for key, _ in differing}))
        raise RunError(
            f"{folder} was trained with another {keys}: use the same settings or another --out"
        )


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
            f"{folder} was trained on other data than {path} holds now: restore the data, or train "
            "anew into another folder"
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
    return {
        "backbone": config.backbone.name,
        "alignment": config.alignment.name if config.alignment else "none",
        "dataset": dataset.name,
        "seed": config.seed,
        "monitor": config.training.monitor,
        "best_epoch": result.best_epoch,
        "epochs": len(result.history),
        "valid": valid.to_dict(),
        "test": test.to_dict(),
        "dataset_facts": {
            "users": dataset.n_users,
            "items": dataset.n_items,
            "modalities": list(dataset.modalities),
            **{split: dataset.split(split).shape[1] for split in ("train", "valid", "test")},
            "intake": dataset.intake and asdict(dataset.intake),
            "notes": list(dataset.notes),
        },
    }
