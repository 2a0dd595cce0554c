"""Finished runs, from study folders and from run folders."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..config import load_config
from ..errors import ConfigError, RunError
from ..run_files import CONFIG_FILE, METRICS_FILE
from ..run_folder import require_run
from .measures import refuse_repeats
from .methods import method_label

_STUDY_FILES = r"study(-\d+)?\.json"


@dataclass(frozen=True)
class FinishedMethod:
    """Runs of one method that differ in their seed alone.

    Attributes:
        label: its name.
        folders: run folders.
        data: name of the data set in a study of several, or its path.
    """

    label: str
    folders: tuple[Path, ...]
    data: str = ""


def finished_methods(folders: Sequence[str | Path]) -> list[FinishedMethod]:
    """The methods in `folders`, each a study or a run; reference lines have no weights to reload.

    Single runs that differ in their seed alone are one method.

    Raises:
        RunError: a folder is neither, or a run is not finished.
        ConfigError: there is nothing, or something twice.
    """
    refuse_repeats("folders", [str(Path(folder).resolve()) for folder in folders])
    methods: list[FinishedMethod] = []
    single = [Path(folder) for folder in folders if not _study_files(Path(folder))]
    for folder in map(Path, folders):
        if folder not in single:
            methods += _study(folder)
    methods += _runs(single)
    names = [(method.data, method.label) for method in methods]
    if not methods or len(set(names)) < len(names):
        labels = ", ".join(label for _, label in names) or "nothing"
        raise ConfigError(f"found {labels}: give runs or studies, each method once")
    return methods


def _study_files(folder: Path) -> list[Path]:
    """The results of the studies in a folder, the oldest first."""
    found = [file for file in folder.glob("study*.json") if re.fullmatch(_STUDY_FILES, file.name)]
    return sorted(found, key=lambda file: (len(file.name), file.name))


def _study(folder: Path) -> list[FinishedMethod]:
    """The methods of all studies in a folder, each with the runs that any of them has."""
    found: dict[tuple[str, str], FinishedMethod] = {}
    for file in _study_files(folder):
        for row in json.loads(file.read_text(encoding="utf-8")):
            if row["reference"]:
                continue
            # where `run_study` puts them, so that a study can be moved as a whole
            place = folder / row["data"] / row["label"]
            known = found.get((row["data"], row["label"]))
            names = [run.name for run in known.folders] if known else []
            names += [Path(run).name for run in row["folders"]]
            runs = tuple(_finished(place / name) for name in dict.fromkeys(names))
            found[row["data"], row["label"]] = FinishedMethod(row["label"], runs, row["data"])
    return list(found.values())


def _runs(folders: Sequence[Path]) -> list[FinishedMethod]:
    """Runs grouped by all of their settings but the seed."""
    groups: dict[str, FinishedMethod] = {}
    for folder in folders:
        config = load_config(_finished(folder) / CONFIG_FILE)
        key = repr(replace(config, seed=0))
        found = groups.get(key, FinishedMethod(method_label(config), (), config.path))
        groups[key] = replace(found, folders=(*found.folders, folder))
    labels = [(method.data, method.label) for method in groups.values()]
    return [
        # equal names of different settings say nothing: the folder does
        m if labels.count((m.data, m.label)) == 1 else replace(m, label=str(m.folders[0]))
        for m in groups.values()
    ]


def _finished(folder: Path) -> Path:
    if not (require_run(folder) / METRICS_FILE).is_file():
        raise RunError(f"{folder} is not finished: train it to its end")
    return folder
