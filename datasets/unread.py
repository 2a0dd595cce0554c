"""Files in a data folder that were not read: a misspelt name is easily overlooked."""

from __future__ import annotations

from pathlib import Path

from . import mmrec, mmssl, pairs, table
from .content import FEATURE_SUFFIXES
from .dataset import Dataset
from .load import format_of
from .options import DataOptions
from .titles import find_titles

RECORD = ".json"
"""Beside features, what made them."""


def unread_files(path: str | Path, options: DataOptions, dataset: Dataset) -> tuple[str, ...]:
    """Names of the files in the folder of `dataset` that it was not made of, in order.

    Hidden files, folders and what is read beside the data (titles, and `data.features`) do not
    count; nothing is unread of a data set that is generated.

    Args:
        path: where it was read from.
        options: how it was read.
        dataset: what was read.
    """
    path = Path(path)
    layout = format_of(path, options)
    if layout == "planted":
        return ()
    folder = path if path.is_dir() else path.parent
    used = _interactions(path, layout)
    titles = find_titles(path)
    if titles is not None:
        used.add(titles.name)
    beside = {Path(file).resolve() for file in options.features.values()}
    return tuple(
        file.name
        for file in sorted(folder.iterdir())
        if file.is_file()
        and not file.name.startswith(".")
        and file.name not in used
        and file.resolve() not in beside
        and not _is_content(file, options, dataset)
    )


def _interactions(path: Path, layout: str) -> set[str]:
    """Names of the files that hold interactions."""
    if not path.is_dir():
        return {path.name}
    if layout == "mmrec":
        return {mmrec.interaction_file(path).name}
    if layout == "mmssl":
        return set(mmssl.FILES.values())
    if layout == "table":
        return {table.table_file(path).name}
    return set(pairs.NAMES)


def _is_content(file: Path, options: DataOptions, dataset: Dataset) -> bool:
    """Whether `file` is of features or a ready graph that `dataset` has from it."""
    name, mark, rest = file.stem.rpartition("_feat")
    if mark and not rest and file.suffix in (*FEATURE_SUFFIXES, RECORD):
        return name in dataset.features and name not in options.features
    name, mark, _ = file.stem.rpartition("_knn")
    return bool(mark) and file.suffix == ".npz" and name in dataset.item_graphs
