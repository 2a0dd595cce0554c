"""Names of the files of a study: a second one in the same folder replaces nothing of the first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..fileio import read_json, write_text
from ..run_files import REPORT_FILE

STUDIES_FILE = "studies.json"
"""Which studies a folder holds, in the order in which they came."""
_UNKNOWN = "a report of an older version, or of a search"


@dataclass(frozen=True)
class StudyFiles:
    """Where a study writes.

    Attributes:
        folder: study folder.
        number: which study of the folder it is, from 1.
    """

    folder: Path
    number: int = 1

    def path(self, name: str) -> Path:
        """Path of a file: `report.html` of the first study, `report-2.html` of the second."""
        stem, dot, suffix = name.partition(".")
        own = f"{stem}-{self.number}" if self.number > 1 else stem
        return self.folder / f"{own}{dot}{suffix}"


def claim_files(
    folder: str | Path, kind: str, methods: Sequence[str], seeds: Sequence[int]
) -> StudyFiles:
    """The files of a study: those that it had before, or else new ones.

    A study is known again by its kind, methods and seeds, so that one that was killed, or had
    failing runs, goes on with its files.

    Args:
        folder: study folder.
        kind: the command, and what in it decides what the report says.
        methods: names of the methods.
        seeds: seeds of their runs.

    Raises:
        RunError: the list of studies is damaged, or cannot be written.
    """
    place = Path(folder)
    known = studies_of(place)
    own: dict[str, object] = {"kind": kind, "methods": list(methods), "seeds": list(seeds)}
    if own not in known:
        known.append(own)
        write_text(place / STUDIES_FILE, json.dumps({"studies": known}, indent=2) + "\n")
    return StudyFiles(place, known.index(own) + 1)


def studies_of(folder: str | Path) -> list[dict[str, object]]:
    """The studies that a folder holds; one of unknown kind for files that no list names."""
    place = Path(folder)
    if (place / STUDIES_FILE).is_file():
        return list(read_json(place / STUDIES_FILE).get("studies", []))
    return [{"kind": _UNKNOWN}] if (place / REPORT_FILE).is_file() else []
