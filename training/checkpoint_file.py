"""The file that a killed run goes on from: read, and refused before anything is written."""

from __future__ import annotations

import pickle
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from ..checksums import DAMAGED, require_sound_archive
from ..errors import RunError
from ..run_files import CHECKPOINT_FILE, HISTORY_FILE, METRICS_FILE, WEIGHTS_FILE

VERSION = 1
"""Of the format."""


def require_resumable(folder: Path, fingerprints: Collection[str]) -> None:
    """Raise what a resume of the run in `folder` would, while nothing has been written.

    Raises:
        RunError: its checkpoint is lost or damaged, or belongs to another configuration or data.
    """
    if (folder / CHECKPOINT_FILE).exists():
        read_checkpoint(folder, fingerprints)
    else:
        refuse_lost_checkpoint(folder)


def refuse_lost_checkpoint(folder: Path) -> None:
    """Raise `RunError` if `folder` has files that no run has before its checkpoint."""
    for name in (WEIGHTS_FILE, METRICS_FILE, HISTORY_FILE):
        file = folder / name
        if file.exists() and file.stat().st_size:
            raise RunError(
                f"{folder} has {name} but no {CHECKPOINT_FILE}, from which to go on: put back "
                f"a copy of it, or begin anew with crossalign train --resume {folder} --anew, "
                "which keeps what is there"
            )


def read_checkpoint(folder: Path, fingerprints: Collection[str]) -> dict[str, Any]:
    """The content of the checkpoint in `folder`.

    Args:
        folder: run folder.
        fingerprints: of the configuration and data that may go on from it.

    Raises:
        RunError: it is damaged, of another version, or has another fingerprint.
    """
    file = folder / CHECKPOINT_FILE
    try:
        require_sound_archive(file)
        content = torch.load(file, map_location="cpu", weights_only=True)
        version, fingerprint = content["version"], content["fingerprint"]
    except pickle.UnpicklingError:  # torch would advise to run whatever it holds
        raise _damaged(folder, "it holds more than tensors, numbers and text") from None
    except (RuntimeError, *DAMAGED) as error:
        raise _damaged(folder, first_line(error)) from error
    if version != VERSION:
        raise RunError(
            f"{file} has format {version}, this program reads {VERSION}: resume "
            "with the version of crossalign that wrote it"
        )
    if fingerprint not in fingerprints:
        raise RunError(
            f"{file} belongs to another configuration or data set: resume with the "
            "settings it was started with, or choose another folder"
        )
    return dict(content)


def _damaged(folder: Path, reason: str) -> RunError:
    return RunError(
        f"{folder / CHECKPOINT_FILE} is damaged ({reason}): put back a copy of it, or begin anew "
        f"with crossalign train --resume {folder} --anew, which keeps what is there, the best "
        f"weights so far in {WEIGHTS_FILE} among it"
    )


def first_line(error: Exception) -> str:
    """The error in one line; torch lists mismatches on lines of their own."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:200] if lines else type(error).__name__
