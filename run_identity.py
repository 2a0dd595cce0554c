"""What a run is known by: the settings and the data that determine its numbers."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from .align import ALIGNERS
from .config import RunConfig, load_config, to_plain
from .datasets import Dataset
from .errors import RunError
from .evidence.options import NONE, EvidenceOptions
from .graphs import dataset_hash, load_neighbors
from .graphs.content_hash import tensor_hash
from .run_files import CONFIG_FILE

WITHOUT_EFFECT = frozenset(
    {
        "path",  # data are known by their content, wherever they lie
        "data.row_order",  # likewise
        "cache_dir",
        "imports",
        "training.epochs",
        "training.patience",
        "training.checkpoint_every",
        "training.device",
        "graph.memory_mib",
        "neighbors.memory_mib",
        "neighbors.workers",
        "refit_of",
    }
)
"""Options that do not change what an epoch computes: a run may be resumed with others."""


LATER = frozenset(
    {
        ("data.hold_out", "True"),
        ("start_from", "None"),
        ("training.replay", "None"),
        ("neighbors.by", "None"),
        ("neighbors.candidates", "20"),
        ("neighbors.ridge", "200.0"),
        ("neighbors.content_weight", "20.0"),
    }
)
"""Defaults of options that earlier versions did not have: their runs are known as before."""


def run_fingerprint(config: RunConfig, dataset: Dataset) -> str:
    """Hash of data and configuration: a checkpoint is only continued under an equal one.

    Options without effect on an epoch are left out, so that a run can be lengthened; so is
    evidence, which is added once the model is trained.
    """
    return _fingerprint(_of_training(config), config, dataset)


def former_fingerprints(folder: Path, config: RunConfig, dataset: Dataset) -> tuple[str, ...]:
    """What earlier versions made of the same, with the place of the data that `folder` recorded."""
    if not (folder / CONFIG_FILE).is_file():
        return ()
    places = {load_config(folder / CONFIG_FILE).path, config.path}
    settings = _of_training(config)
    return tuple(
        _fingerprint(settings | {("path", repr(place))}, config, dataset)
        for place in sorted(places)
    )


def settings_hash(config: RunConfig, *data_hashes: str) -> str:
    """Hash of what determines the numbers of a run, and of the data that it reads."""
    return _hash(_of_training(config), *data_hashes)


def _of_training(config: RunConfig) -> set[tuple[str, str]]:
    """The settings that training depends on: all but those of evidence."""
    return {(key, value) for key, value in _settings(config) if not _of_evidence(key)}


def _fingerprint(settings: set[tuple[str, str]], config: RunConfig, dataset: Dataset) -> str:
    file = config.neighbors.file
    if file is not None and reads_neighbors(config):  # the file may have been made anew
        return _hash(settings, dataset_hash(dataset), tensor_hash(load_neighbors(file).ids))
    return _hash(settings, dataset_hash(dataset))


def _hash(settings: set[tuple[str, str]], *data_hashes: str) -> str:
    identity: list[Any] = [sorted(settings), *data_hashes]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]


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
    return {(key, value) for key, value in settings - LATER if key not in unread}


def _of_evidence(key: str) -> bool:
    return key.startswith(f"{EvidenceOptions.section}.")


def reads_neighbors(config: RunConfig) -> bool:
    """Whether the alignment is given a table of neighbours."""
    aligned = config.alignment
    return bool(aligned and ALIGNERS[aligned.name].cls.wants_neighbors(aligned.options))


def refuse_other_settings(folder: Path, config: RunConfig) -> None:
    """Raise `RunError` naming the options in which the run in `folder` differs from `config`."""
    file = folder / CONFIG_FILE
    differing = _settings(load_config(file)) ^ _settings(config) if file.exists() else set()
    if differing:
        keys = ", ".join(sorted({key for key, _ in differing}))
        raise RunError(
            f"{folder} was trained with another {keys}: use the same settings or another --out"
        )
