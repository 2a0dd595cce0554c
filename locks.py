"""One writer a folder: locks that end with the process that holds them, however it ends.

A lock is `flock` on a file, so that the operating system frees it. Where a file system knows no
locks, a warning says so and the work goes on.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from .errors import RunError

LOCK_FILE = ".lock"
"""In a folder that is being written; gone with the writer, but for one that was killed."""
PATIENCE = 3.0
"""Seconds to wait for a writer that is just ending, as workers do whose parent was killed."""
MOST_SAID = 4096
"""Bytes that a lock file may say of its holder."""

logger = logging.getLogger(__name__)


def hold(path: Path) -> int | None:
    """Make the file `path` and lock it for this process; None if another one holds it.

    Returns:
        An open descriptor: closing it, or the end of the process, frees the lock.

    Raises:
        OSError: the file cannot be made.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError as error:
            logger.warning("%s cannot be locked (%s): let no other process write", path, error)
            return descriptor
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)  # its holder removed it between the two calls


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock on the existing file `path`."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no locks here: what cannot be known counts as held
        return True
    finally:
        os.close(descriptor)
    return False


FILES = (".npz", ".npy", ".csv", ".tsv", ".parquet", ".dgl", ".json")
"""Endings of what is one file; other names are folders."""


@contextmanager
def only_writer(place: str | os.PathLike[str], *, appears: bool = False) -> Iterator[None]:
    """Be the only process that writes into a folder, or writes a file, within the block.

    Args:
        place: a folder, made if absent and removed again if it stays empty; or a file, named by a
            suffix, whose lock lies beside it.
        appears: `place` is a folder that is not there until it is whole: its lock lies beside it.

    Raises:
        RunError: another process writes there, and who; or the folder cannot be made.
    """
    place = Path(place)
    beside = appears or (place.suffix in FILES and not place.is_dir())
    folder = place.parent if beside else place
    lock = folder / (f".{place.name}{LOCK_FILE}" if beside else LOCK_FILE)
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _await(lock)
    except OSError as error:
        reason = error.strerror or error
        raise RunError(f"cannot write into {folder}: {reason}; choose another folder") from error
    if descriptor is None:
        raise RunError(
            f"{place} is being written by another process ({_holder(lock)}): wait until it ends, "
            "or choose another folder"
        )
    try:
        _introduce(descriptor)
        yield
    finally:
        lock.unlink(missing_ok=True)  # while it is held: who opened it meanwhile looks again
        os.close(descriptor)
        with suppress(OSError):  # not empty: there it stays
            for one in made:
                one.rmdir()


def _await(lock: Path) -> int | None:
    """`hold`, tried again for a moment."""
    deadline = time.monotonic() + PATIENCE
    while (descriptor := hold(lock)) is None and time.monotonic() < deadline:
        time.sleep(0.1)
    return descriptor


def _introduce(descriptor: int) -> None:
    """Say in the lock file who holds it."""
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200]
    holder = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now().astimezone().isoformat(" ", "seconds"),
        "command": command,
    }
    with suppress(OSError):  # a full disk: the lock holds all the same, and its file stays empty
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode(), 0)


def _holder(lock: Path) -> str:
    """Who holds `lock`, as far as the file says it."""
    try:
        with lock.open("rb") as file:
            said = json.loads(file.read(MOST_SAID))
        who = f"pid {int(said['pid'])} on {said['host']}, since {said['since']}: {said['command']}"
    except (OSError, ValueError, LookupError, TypeError):  # it ended, or has not written it yet
        return "which ends or begins just now"
    return " ".join(who.split())
