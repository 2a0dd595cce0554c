"""Copies of exports that have been checked, for processes that take them over.

Whoever writes an export may do so file by file, or in place, or badly. A service reads copies of
its own: `<number>/` for each export that was found good, and `current`, which names the last.
"""

from __future__ import annotations

import json
import multiprocessing
import shutil
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from pathlib import Path

from ...errors import DataError
from ...fileio import write_text
from ..layout import ABOUT, EVIDENCE, FORMAT, INDEX, ITEMS, SEEN, USERS, VECTORS
from .shop import check_export

CURRENT = "current.json"
KEPT = 2
"""Copies kept: processes may still be reading the one before the last."""


@dataclass
class Store:
    """Takes good exports from a folder.

    Attributes:
        export: the folder that is watched.
        folder: where the copies are.
        taken: exports taken so far.
        refused: exports refused so far.
    """

    export: Path
    folder: Path
    taken: int = 0
    refused: int = 0
    _seen: tuple[int, ...] = field(default=(), repr=False)

    def take(self) -> None:
        """Take the first export, and check it in this process.

        Raises:
            DataError: it is none, or damaged.
        """
        self._seen = self._state()
        copy = self._copy()
        try:
            check_export(copy)
        except DataError as error:
            raise self._named(error) from None
        self._publish(copy)

    def look(self, context: BaseContext) -> str | None:
        """Take a new export, if there is one.

        It is checked in a process of its own, which damaged files may break.

        Returns:
            What happened, as a line; None if nothing did.
        """
        state = self._state()
        if not state or state == self._seen:
            return None
        self._seen = state
        try:
            copy = self._copy()
            if self._state() != state:  # it changed while it was read: the next look takes it
                self._seen = ()
                shutil.rmtree(copy)
                return None
            _check_apart(context, copy)
        except DataError as error:
            self.refused += 1
            shutil.rmtree(self._next(), ignore_errors=True)
            self._write()
            return f"refused a new export, the old one goes on: {self._named(error)}"
        self._publish(copy)
        return "took a new export"

    def _state(self) -> tuple[int, ...]:
        """Changes when `about.json` does, which is written last; empty without one."""
        try:
            stat = (self.export / ABOUT).stat()
        except OSError:
            return ()
        return stat.st_ino, stat.st_mtime_ns, stat.st_size

    def _next(self) -> Path:
        return self.folder / str(self.taken + 1)

    def _copy(self) -> Path:
        """A copy of the files that are served.

        Raises:
            DataError: one is missing or cannot be read.
        """
        if not (self.export / ABOUT).is_file():
            raise DataError(
                f"{self.export} is no export (no {ABOUT}): make one with crossalign export"
            )
        copy = self._next()
        copy.mkdir(exist_ok=True)
        try:
            about = json.loads((self.export / ABOUT).read_text(encoding="utf-8"))
            if about["format"] != FORMAT:
                raise DataError(
                    f"{self.export}: format {about['format']} is not {FORMAT}: export again"
                )
            names = [ABOUT, VECTORS, INDEX, SEEN, USERS, ITEMS]
            names += [EVIDENCE] if about.get("evidence") else []
            names += [f"{Path(name).name}_feat.json" for name in about.get("encoders", [])]
            for name in names:
                shutil.copyfile(self.export / name, copy / name)
        except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise DataError(f"{self.export} is damaged ({error}): export the run again") from None
        return copy

    def _named(self, error: DataError) -> DataError:
        """The same error, of the folder that was copied."""
        return DataError(str(error).replace(str(self._next()), str(self.export)))

    def _publish(self, copy: Path) -> None:
        self.taken += 1
        self._write()
        shutil.rmtree(self.folder / str(self.taken - KEPT), ignore_errors=True)

    def _write(self) -> None:
        state = {"number": self.taken, "refused": self.refused}
        write_text(self.folder / CURRENT, json.dumps(state))


def read_current(store: Path) -> tuple[int, int]:
    """Number of the export to serve, and how many were refused."""
    state = json.loads((store / CURRENT).read_text(encoding="utf-8"))
    return state["number"], state["refused"]


def _check_apart(context: BaseContext, folder: Path) -> None:
    """`check_export` in another process. Raises `DataError`."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = context.Process(target=_check, args=(folder, theirs))  # type: ignore[attr-defined]
    process.start()
    theirs.close()
    try:
        reason = ours.recv()
    except EOFError:
        reason = f"{folder} is damaged (reading it ends the process): export the run again"
    process.join()
    if reason is not None:
        raise DataError(reason)


def _check(folder: Path, answer: Connection) -> None:
    try:
        check_export(folder)
        answer.send(None)
    except DataError as error:
        answer.send(str(error))
