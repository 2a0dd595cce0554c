"""Files that are either whole or not there: written under a temporary name, then renamed.

A temporary file is locked by its writer while it lives. What a killed one left is swept when the
same file is written again.
"""

from __future__ import annotations

import csv
import errno
import glob
import json
import os
import resource
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from .checksums import require_seal, sealed
from .errors import DataError, RunError, shorten
from .locks import hold, is_held
from .run_files import EXPORT_FILES

if TYPE_CHECKING:
    import pandas as pd

MOST_JSON = 2**28
"""Bytes of a JSON file that is read."""


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces `path` when the block succeeds.

    A killed or failed block leaves the old file untouched; the temporary file is removed on
    failure, and those that killed processes left of this file are removed as well. The temporary
    name keeps the suffix, for writers that look at it.

    Raises:
        RunError: the folder cannot be written, or the disk is full.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.tmp{target.suffix}")
    lock = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target)
        lock = hold(temporary)
        yield temporary
        temporary.replace(target)
    except OSError as error:
        short = error.errno is None and "requested and" in str(error)  # NumPy's words for it
        if error.errno == errno.ENOSPC or short:
            mend = "free some space or choose another output folder"
        else:
            mend = "check that the folder exists and is writable"
        raise RunError(f"cannot write {target}: {error.strerror or error}; {mend}") from error
    finally:
        with suppress(OSError):  # the error that is on its way says more
            temporary.unlink(missing_ok=True)
        if lock is not None:
            os.close(lock)


def sweep(target: Path) -> None:
    """Remove temporary files of `target` whose writers were killed, and no living one's."""
    pattern = f".{glob.escape(target.stem)}.*.tmp{glob.escape(target.suffix)}"
    for leftover in target.parent.glob(pattern):
        with suppress(OSError):  # another process sweeps too
            if not is_held(leftover):
                leftover.unlink()


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` to `path` atomically, in UTF-8."""
    with atomic_path(path) as temporary:
        # what is no text, as in the name of a folder, is written as its code
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: str | os.PathLike[str], value: Mapping[str, Any]) -> None:
    """Write a mapping as JSON, with a checksum that `read_json` compares."""
    write_text(path, json.dumps(sealed(value), indent=2) + "\n")


def write_csv(out: str | os.PathLike[str] | IO[str], table: pd.DataFrame, **options: Any) -> None:
    """Write a table as CSV that reads back exactly.

    Python's writer leaves a carriage return inside a field unquoted, where readers see the end of a
    line: with one in the table, all text is quoted.
    """
    texts = (table[name] for name in table if table[name].dtype.kind not in "iufb")
    odd = any("\r" in str(value) for column in texts for value in column)
    quoting = csv.QUOTE_NONNUMERIC if odd else csv.QUOTE_MINIMAL
    table.to_csv(out, index=False, quoting=quoting, lineterminator="\n", **options)


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The mapping in a JSON file.

    Raises:
        RunError: the file is missing or damaged, or its checksum is wrong.
    """
    try:
        if Path(path).stat().st_size > MOST_JSON:
            raise ValueError(f"more than {MOST_JSON >> 20} MiB")
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = shorten(str(error))
        raise RunError(
            f"{path} is missing or damaged ({reason}): restore it or run again"
        ) from None
    if not isinstance(value, dict):
        raise RunError(f"{path} is damaged (no mapping): restore it or run again")
    try:
        require_seal(value)
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error}): restore it or run again") from None
    return value


def refuse_export(folder: str | os.PathLike[str]) -> None:
    """Refuse a folder that is an export or lies in one: it would no longer be what was exported.

    Raises:
        RunError: it does.
    """
    place = Path(folder).absolute()
    for one in (place, *place.parents):
        if all((one / name).is_file() for name in EXPORT_FILES):
            raise RunError(f"{folder} lies in the export {one}: choose a folder outside of it")


def require_memory(what: str, n_bytes: int) -> None:
    """Refuse to make what is larger than the memory of the machine, or than its limit.

    Raises:
        DataError: it is.
    """
    limit = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    allowed = resource.getrlimit(resource.RLIMIT_AS)[0]
    if allowed != resource.RLIM_INFINITY:
        limit = min(limit, allowed)
    if n_bytes > limit:
        raise DataError(
            f"{what} takes {n_bytes / 2**30:,.1f} GiB, and there are {limit / 2**30:,.1f}; make it "
            "smaller or use a larger machine"
        )


def require_writable(folder: str | os.PathLike[str]) -> None:
    """Refuse a folder that cannot be written, before hours of work; nothing is left behind.

    Raises:
        RunError: it is a file, or neither it nor the folder that it would be made in is writable.
    """
    place = Path(folder).absolute()
    if not str(folder):
        raise RunError("cannot write into '': name a folder")
    try:
        while not place.exists():
            place = place.parent
        if not place.is_dir():
            raise RunError(f"cannot write into {folder}: {place} is a file; choose another folder")
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise RunError(
            f"cannot write into {folder}: {reason} ({place}); choose another folder"
        ) from error
