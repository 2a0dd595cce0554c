"""From a data set to a partition folder."""

from __future__ import annotations

import contextlib
import glob
import io
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..datasets.dataset import Dataset
from ..errors import ConfigError, RunError
from ..fileio import read_json, require_writable
from ..graphs.build import build_graph
from ..graphs.content_hash import dataset_hash
from ..graphs.options import GraphOptions
from ..locks import only_writer
from ..run_files import CONFIG_FILE
from .folder import GRAPH, NODES, SPLITS, Parts, array, files_in, graph_file, save_parts

Method = Literal["metis", "random"]
SIMILAR = "similar_"


@dataclass(frozen=True)
class PartitionOptions:
    """How a graph is cut.

    Attributes:
        parts: number of parts, one for each host.
        method: `metis` keeps neighbours together; `random` is faster, and most neighbours then lie
            on other hosts.
        balance: `nodes` gives every part as many users and as many items, `edges` as many edges as
            well.
        similar: whether the graphs of content neighbours travel along, which FREEDOM reads.
        neighbors_by: what the neighbours that travel along are neighbours by.
    """

    parts: int
    method: Method = "metis"
    balance: Literal["edges", "nodes"] = "edges"
    similar: bool = True
    neighbors_by: str = "cooccurrence"


def partition(
    dataset: Dataset,
    folder: str | Path,
    options: PartitionOptions,
    *,
    graph_options: GraphOptions | None = None,
    neighbors: Tensor | None = None,
    config_text: str = "",
) -> Parts:
    """Cut the graph of `dataset` and write everything that training on the parts reads.

    Args:
        dataset: the data; splits, features, missing rows and original ids travel along.
        folder: made; must not exist. It appears when all of it is written; what killed processes
            left of theirs is removed.
        options: how to cut.
        graph_options: of the graphs of content neighbours.
        neighbors: `(n_items, k)` ids of neighbours, -1 where there are fewer.
        config_text: configuration with which the data are read again, YAML.

    Raises:
        RunError: the folder exists, cannot be written, or another process writes it.
        ConfigError: more parts than users or items.
    """
    folder, started = Path(folder), time.perf_counter()
    if not 1 <= options.parts <= min(dataset.n_users, dataset.n_items):
        raise ConfigError(
            f"{options.parts} parts of {dataset.n_users} users and {dataset.n_items} items: give "
            "a number between 1 and the smaller of them"
        )
    require_writable(folder.parent)
    with only_writer(folder, appears=True), _all_at_once(folder) as temporary:
        ids = _cut(dataset, temporary, options, graph_options)
        places = {kind: _inverse(ids[kind]) for kind in NODES}
        for kind in NODES:
            np.save(temporary / f"{kind}_ids.npy", ids[kind].numpy())
            np.save(temporary / f"{kind}_places.npy", places[kind].numpy())
        for split in SPLITS:
            np.save(temporary / f"{split}.npy", _renumbered(dataset.split(split), places))
        for name, mask in dataset.missing.items():
            np.save(temporary / f"missing_{name}.npy", mask[ids["item"]].numpy())
        if neighbors is not None:
            np.save(temporary / "neighbors.npy", _renumbered_lists(neighbors, ids, places))
        _save_raw_ids(temporary, dataset, ids)
        (temporary / CONFIG_FILE).write_text(config_text, encoding="utf-8")
        parts = _manifest(temporary, dataset, options, neighbors, time.perf_counter() - started)
        save_parts(temporary, parts)
    return parts


@contextlib.contextmanager
def _all_at_once(folder: Path) -> Iterator[Path]:
    """A folder that becomes `folder` when the block succeeds, for the only process that writes it.

    Raises:
        RunError: it exists already, or cannot be written.
    """
    if folder.exists():
        raise RunError(f"{folder} exists already: delete it, or choose another --out")
    # of processes that were killed: the lock is ours
    for leftover in folder.parent.glob(f".{glob.escape(folder.name)}.*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir()
        yield temporary
        temporary.rename(folder)
    except OSError as error:
        raise RunError(
            f"cannot write {folder}: {error.strerror or error}; free some space or choose another "
            "folder"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _cut(
    dataset: Dataset, folder: Path, options: PartitionOptions, graph_options: GraphOptions | None
) -> Mapping[str, Tensor]:
    """Let DGL write the parts; gives node type -> ids in the order of their places."""
    from ..graphs.dgl_import import dgl

    content = bool(dataset.features or dataset.item_graphs) and options.similar
    relations = ("interacts", "interacted_by", *(("similar",) if content else ()))
    graph = build_graph(dataset, graph_options, relations=relations)
    for etype in graph.etypes:
        if etype.startswith(SIMILAR):
            del graph.edges[etype].data["weight"]
            degree = graph.in_degrees(etype=etype)
            graph.nodes["item"].data[f"degree_{etype}"] = degree
    for name, table in dataset.features.items():
        graph.nodes["item"].data[f"feature_{name}"] = table
    with _quiet():
        ids, _ = dgl.distributed.partition_graph(
            graph,
            GRAPH,
            options.parts,
            str(folder),
            part_method=options.method,  # which balances the types of nodes by itself
            balance_edges=options.balance == "edges",
            return_mapping=True,
        )
    return ids


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """DGL tells its timings on the standard output."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def _inverse(ids: Tensor) -> Tensor:
    places = torch.empty_like(ids)
    places[ids] = torch.arange(len(ids))
    return places


def _renumbered(pairs: Tensor, places: Mapping[str, Tensor]) -> np.ndarray:
    """The pairs by places, those of a user in the order of the data, users in order."""
    users, items = places["user"][pairs[0]], places["item"][pairs[1]]
    order = users.argsort(stable=True)
    return torch.stack((users[order], items[order])).numpy()


def _renumbered_lists(
    lists: Tensor, ids: Mapping[str, Tensor], places: Mapping[str, Tensor]
) -> np.ndarray:
    """Lists of neighbours `(n_items, k)` by places."""
    lists = lists[ids["item"]]
    return torch.where(lists < 0, -1, places["item"][lists.clamp_min(0)]).numpy()


def _save_raw_ids(folder: Path, dataset: Dataset, ids: Mapping[str, Tensor]) -> None:
    """Place, id and original id of every node, as Parquet."""
    for kind, original in zip(NODES, (dataset.user_ids, dataset.item_ids), strict=True):
        by_place = ids[kind].numpy()
        raw = by_place if original is None else original[by_place]
        table = pd.DataFrame({"place": np.arange(len(raw)), "id": by_place, "raw_id": raw})
        table.to_parquet(folder / f"{kind}s.parquet", index=False)


def _manifest(
    folder: Path,
    dataset: Dataset,
    options: PartitionOptions,
    neighbors: Tensor | None,
    seconds: float,
) -> Parts:
    """The description of what was written."""
    ends = node_ends(folder)
    users, items = array(folder, "train")
    part_of_user = np.searchsorted(ends["user"], users, side="right")
    part_of_item = np.searchsorted(ends["item"], items, side="right")
    similar = options.similar and bool(dataset.features or dataset.item_graphs)
    names = dict.fromkeys((*dataset.modalities, *dataset.item_graphs)) if similar else {}
    return Parts(
        name=dataset.name,
        data_hash=dataset_hash(dataset),
        method=options.method,
        n_users=dataset.n_users,
        n_items=dataset.n_items,
        users=tuple(np.diff(ends["user"], prepend=0).tolist()),
        items=tuple(np.diff(ends["item"], prepend=0).tolist()),
        pairs=tuple(np.bincount(part_of_user, minlength=options.parts).tolist()),
        cut=int((part_of_user != part_of_item).sum()),
        modalities={name: table.shape[1] for name, table in dataset.features.items()},
        missing=tuple(dataset.missing),
        relations=("interacts", "interacted_by", *(f"{SIMILAR}{name}" for name in names)),
        neighbors=0 if neighbors is None else neighbors.shape[1],
        neighbors_by=options.neighbors_by,
        dropped={name: int(count) for name, count in dataset.dropped.items()},
        files=files_in(folder),
        seconds=seconds,
    )


def node_ends(folder: str | Path) -> dict[str, np.ndarray]:
    """Node type -> `(n_parts,)`, the place after the last node of each part, as DGL has it."""
    nodes = read_json(graph_file(folder))["node_map"]
    return {kind: np.diff(nodes[kind], axis=1).sum(1).cumsum() for kind in NODES}
