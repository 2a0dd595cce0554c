"""Names of the files of a study: a second one in the same folder replaces nothing of the first."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import RunError
from ..fileio import read_json, write_text
from ..run_files import REPORT_FILE

STUDIES_FILE = "studies.json"
"""Which studies a folder holds, in the order in which they came."""
STUDY_FILE = "study.json"
"""Results of a study by method."""
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
    failing runs, goes on with its files; so is one that an earlier version wrote, which kept no
    list of studies.

    Args:
        folder: study folder.
        kind: the command, and what in it decides what the report says.
        methods: names of the methods.
        seeds: seeds of their runs.

    Raises:
        RunError: the list of studies is damaged, or cannot be written.
    """
    place = Path(folder)
    own: dict[str, Any] = {"kind": kind, "methods": list(methods), "seeds": list(seeds)}
    known = [] if _is_unlisted(place, own) else studies_of(place)
    if own not in known:
        known.append(own)
        write_text(place / STUDIES_FILE, json.dumps({"studies": known}, indent=2) + "\n")
    return StudyFiles(place, known.index(own) + 1)


def _is_unlisted(place: Path, own: Mapping[str, Any]) -> bool:
    """Whether an earlier version wrote this study into a folder: by its results, without a list.

    These do not name the command, but its methods, seeds and lines of reference.
    """
    file = place / STUDY_FILE
    if (place / STUDIES_FILE).is_file() or not file.is_file():
        return False
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
        trained = [row for row in rows if not row["reference"]]
        methods = [str(Path(row["data"]) / row["label"]) for row in trained]
        seeds = {tuple(Path(run).name for run in row["folders"]) for row in trained}
        references = [row["label"] for row in rows if row["reference"]]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise RunError(f"{file} is damaged ({error}): move it away, then again") from None
    return (
        methods == own["methods"]
        and seeds == {tuple(f"seed{seed}" for seed in own["seeds"])}
        and references == str(own["kind"]).split()[1:]
    )


def studies_of(folder: str | Path) -> list[dict[str, object]]:
    """The studies that a folder holds; one of unknown kind for files that no list names."""
    place = Path(folder)
    if (place / STUDIES_FILE).is_file():
        return list(read_json(place / STUDIES_FILE).get("studies", []))
    return [{"kind": _UNKNOWN}] if (place / REPORT_FILE).is_file() else []
