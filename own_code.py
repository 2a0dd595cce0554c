"""Which code of one's own a run was trained with, and whether it is still the same."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from pathlib import Path

from .checksums import file_checksum
from .fileio import read_json, write_json
from .run_files import OWN_CODE_FILE

logger = logging.getLogger(__name__)


def remember_code(folder: Path, sources: Iterable[str]) -> None:
    """Record the code that a run is trained with, behind what trained it until now.

    By name of a file or module, `own_code.json` has the SHA-256 of each version in turn. What these
    import in their turn is not in it.

    Args:
        folder: run folder.
        sources: `imports` of its configuration, imported already.
    """
    now = _checksums(sources)
    if not now:
        return
    before = _recorded(folder)
    for name, checksum in now.items():
        versions = before.setdefault(name, [])
        if versions[-1:] != [checksum]:
            versions.append(checksum)
    write_json(folder / OWN_CODE_FILE, {"sha256": before})


def tell_changed_code(folder: Path, sources: Iterable[str]) -> None:
    """Warn of code that is no longer what the run in `folder` was trained with last."""
    recorded = _recorded(folder)
    for name, checksum in _checksums(sources).items():
        if name in recorded and recorded[name][-1] != checksum:
            logger.warning(
                "%s has changed since %s was trained: the run is read with the code as it is now",
                name,
                folder,
            )


def _recorded(folder: Path) -> dict[str, list[str]]:
    """File or module -> checksums; empty for runs that recorded none."""
    file = folder / OWN_CODE_FILE
    recorded: dict[str, list[str]] = read_json(file).get("sha256", {}) if file.is_file() else {}
    return recorded


def _checksums(sources: Iterable[str]) -> dict[str, str]:
    """Name of a file, which may have moved, or module -> SHA-256 of its source."""
    found = {}
    for source in sources:
        is_file = source.endswith(".py")
        module = sys.modules.get(Path(source).stem if is_file else source)
        file = source if is_file else getattr(module, "__file__", None)
        if file is not None and Path(file).is_file():
            found[Path(source).name] = file_checksum(file)
    return found
