"""A trained run as a folder that other programs can serve from."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..checksums import tensor_bytes
from ..datasets import SPLITS, Dataset
from ..datasets.titles import find_titles, read_titles
from ..errors import RunError, shorten
from ..fileio import atomic_path, write_csv, write_json
from ..graphs import dataset_hash
from ..locks import only_writer
from ..models import BACKBONES
from ..pipeline import load_run
from ..run_files import METRICS_FILE
from ..run_folder import finished_metrics, versions
from .beside import copy_records, digests, write_parquet
from .content_map import (
    ContentMap,
    MapQuality,
    fit_content_map,
    judge_content_map,
    judge_unbought,
)
from .index import write_index
from .layout import (
    ABOUT,
    EVIDENCE,
    FORMAT,
    INDEX,
    ITEM_VECTORS,
    ITEMS,
    SEEN,
    USER_VECTORS,
    USERS,
    VECTORS,
)
from .served_evidence import ServedEvidence

EXACT_UP_TO = 200_000
"""Items up to which the index compares a query with every one: a millisecond or two."""

Unbought = Literal["auto", "content", "trained"]
"""Where vectors of items without training interactions come from."""


def export_run(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    unbought: Unbought = "auto",
    data: str | None = None,
    replace: bool = False,
) -> dict[str, Any]:
    """Write vectors, ids, FAISS index, what users have, evidence, and the map for new items.

    Args:
        run: a finished run.
        out: folder; an earlier export of the run is replaced, once all new files are written.
        unbought: vectors of items without training interactions: `trained` takes the backbone's,
            `content` makes them from content, `auto` does so where the backbone reads none.
        data: where the data of the run lie now, if they were moved.
        replace: whether an export of another run may be replaced too.

    Returns:
        What `about.json` says.

    Raises:
        CrossalignError: the run is not finished, has no content where content is asked for, or
            `out` holds the export of another run.
    """
    run, out = Path(run), Path(out)
    if not replace:
        _refuse_other_export(out, run)
    with only_writer(out):
        return _export(run, out, unbought, data)


def _export(run: Path, out: Path, unbought: Unbought, data: str | None) -> dict[str, Any]:
    """`export_run`, by the only process that writes into the folder."""
    if not (run / METRICS_FILE).is_file():
        raise RunError(f"{run} holds no finished run: export one that has a {METRICS_FILE}")
    metrics = finished_metrics(run)
    config, dataset, backbone = load_run(run, data)
    if unbought == "content" and not dataset.features:
        raise RunError(f"'{dataset.name}' has no content, from which vectors could be made")
    with torch.no_grad():
        user, item = (table.float().cpu().clone() for table in backbone.eval()())
    counts = dataset.train[1].bincount(minlength=dataset.n_items)
    content_map, quality = _content(user, item, dataset)
    made = torch.zeros(dataset.n_items, dtype=torch.bool)
    if content_map is not None and unbought != "trained":
        placed = BACKBONES[config.backbone.name].cls.represents_content
        made = (counts == 0) & (unbought == "content" or not placed)
        item[made] = content_map.of_rows(dataset.features, dataset.missing, made)
    _place_untrained(user, item, dataset)

    evidence = ServedEvidence.of_run(config, dataset, run)
    about = {
        "format": FORMAT,
        "run": str(run),
        "backbone": config.backbone.name,
        "alignment": config.alignment.name if config.alignment else "none",
        "dataset": dataset.name,
        "data_hash": dataset_hash(dataset),
        "users": dataset.n_users,
        "items": dataset.n_items,
        "dim": item.shape[1],
        "kind": _kind(metrics),
        "test": metrics["test"],
        "unbought": {
            "items": int((counts == 0).sum()),
            "vectors": "content" if made.any() else "trained",
            "test_rows": int((counts[dataset.test[1]] == 0).sum()),
            "auc": judge_unbought(user, item, dataset.test, counts > 0),
        },
        "evidence": evidence and evidence.about(),
        "content_map": content_map and _about_map(content_map),
        "content_map_quality": quality and asdict(quality),
        "versions": versions(),
    }
    with _all_at_once(out) as fresh:
        _write_vectors(fresh / VECTORS, user, item, content_map)
        _write_ids(fresh, dataset, counts, made, _titles(config.path, dataset))
        _write_seen(fresh / SEEN, dataset)
        if evidence is not None:
            evidence.save(fresh / EVIDENCE)
        write_parquet(fresh / USER_VECTORS, _originals(dataset.user_ids, dataset.n_users), user)
        write_parquet(fresh / ITEM_VECTORS, _originals(dataset.item_ids, dataset.n_items), item)
        about["index"] = write_index(fresh / INDEX, user, item, exact=len(item) <= EXACT_UP_TO)
        about["encoders"] = copy_records(Path(config.path), dataset.features, fresh)
        about["created"] = round(time.time())
        about["sha256"] = digests(fresh)
        write_json(fresh / ABOUT, about)
    return about


def _kind(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Which rows the model knows, and which run its metrics describe: itself, another, or none."""
    held_out = bool(metrics["dataset_facts"]["test"])
    if held_out:
        return {"trained_on": "training rows", "metrics_of": "this run"}
    described = metrics.get("measured_on")
    return {
        "trained_on": "all rows",
        "metrics_of": described["run"] if described else None,
    }


def _refuse_other_export(out: Path, run: Path) -> None:
    """Raise `RunError` if `out` holds the export of another run than `run`."""
    if not (out / ABOUT).is_file():
        return
    try:
        other = str(json.loads((out / ABOUT).read_text(encoding="utf-8"))["run"])
    except (OSError, ValueError, LookupError, TypeError):
        other = "something else"
    if Path(other).resolve() != run.resolve():
        raise RunError(
            f"{out} holds the export of {shorten(other)}: choose another --out, or give --replace"
        )


def _place_untrained(user: Tensor, item: Tensor, dataset: Dataset) -> None:
    """Give users without a training row the mean vector of the items they like, in place.

    What the backbone holds for them nothing has shaped. Of whom no liking is known, having rated
    low all they have, gets the mean vector of the trained users.
    """
    users, items = dataset.also_seen
    untrained = dataset.train[0].bincount(minlength=dataset.n_users) == 0
    rows = untrained[users]
    users, items = users[rows], items[rows]
    total = torch.zeros_like(user).index_add_(0, users, item[items])
    count = users.bincount(minlength=dataset.n_users).unsqueeze(1)
    placed = users.unique()
    user[untrained] = user[~untrained].mean(dim=0)
    user[placed] = total[placed] / count[placed]


@contextmanager
def _all_at_once(out: Path) -> Iterator[Path]:
    """A folder whose files replace those in `out` when the block succeeds, `about.json` last."""
    for leftover in out.glob(".new-*"):  # of an export that was killed: the lock is ours
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".new-") as fresh:
        yield Path(fresh)
        (out / ABOUT).unlink(missing_ok=True)  # what lies here is no export until all is replaced
        (out / EVIDENCE).unlink(missing_ok=True)  # the new export may have none
        for file in sorted(Path(fresh).iterdir(), key=lambda file: file.name == ABOUT):
            file.replace(out / file.name)


def _content(
    user: Tensor, item: Tensor, dataset: Dataset
) -> tuple[ContentMap | None, MapQuality | None]:
    """The map from content to vectors and how good it is; nothing where there is no content."""
    if not dataset.features:
        return None, None
    content = (dataset.features, dataset.missing)
    content_map = fit_content_map(item, *content, dataset.train[1].unique())
    return content_map, judge_content_map(user, item, *content, dataset.train)


def _about_map(content_map: ContentMap) -> dict[str, Any]:
    return {"modalities": dict(content_map.widths), "penalty": content_map.penalty}


def _write_vectors(file: Path, user: Tensor, item: Tensor, content_map: ContentMap | None) -> None:
    tensors = {"user": user, "item": item}
    if content_map is not None:
        parts = ("centre", "weight", "bias")
        tensors |= {f"content_map.{name}": getattr(content_map, name) for name in parts}
    with atomic_path(file) as path:
        path.write_bytes(tensor_bytes(tensors))


def _write_ids(
    out: Path, dataset: Dataset, bought: Tensor, made: Tensor, titles: Mapping[str, list[str]]
) -> None:
    counts = dataset.train[0].bincount(minlength=dataset.n_users)
    source = np.where(made.numpy(), "content", "trained")
    tables: Mapping[str, dict[str, Any]] = {
        USERS: {"id": _originals(dataset.user_ids, dataset.n_users), "interactions": counts},
        ITEMS: {
            "id": _originals(dataset.item_ids, dataset.n_items),
            "interactions": bought,
            "vector": source,
            **titles,
        },
    }
    for name, columns in tables.items():
        with atomic_path(out / name) as path:
            write_csv(path, pd.DataFrame(columns))


def _titles(path: str, dataset: Dataset) -> dict[str, list[str]]:
    """The column `title` of `items.csv`, where there is a table of titles beside the data."""
    file = find_titles(path)
    if file is None:
        return {}
    found = read_titles(file, dataset)
    return {"title": [found.get(number, "") for number in range(dataset.n_items)]}


def _originals(ids: np.ndarray | None, n: int) -> np.ndarray:
    return np.arange(n) if ids is None else ids


def _write_seen(file: Path, dataset: Dataset) -> None:
    """Items that every user is known to have, as rows of a CSR matrix: none is recommended."""
    splits = (dataset.split(split) for split in SPLITS)
    pairs = [*splits, dataset.also_seen, dataset.rated_low]
    users, items = torch.cat(pairs, dim=1)
    order = (users * dataset.n_items + items).unique()
    users, items = order // dataset.n_items, order % dataset.n_items
    indptr = torch.zeros(dataset.n_users + 1, dtype=torch.int64)
    indptr[1:] = users.bincount(minlength=dataset.n_users).cumsum(0)
    with atomic_path(file) as path:
        np.savez(path, indptr=indptr.numpy(), indices=items.numpy())
