"""The heterograph of a data set as a file that plain DGL opens.

`shop.dgl` is DGL's own format, see `docs/graph.md`; beside it lie `shop.users.csv` and
`shop.items.csv`, the user's own id of every node, and `shop.json`, which says what the graph is
made of. Nothing of crossalign is needed to read them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..datasets.dataset import SPLITS, Dataset
from ..errors import ConfigError
from ..fileio import atomic_path, write_csv, write_text
from ..tensors.later import pd
from .build import build_graph
from .content_hash import dataset_hash
from .options import GraphOptions

if TYPE_CHECKING:
    from .dgl_import import DGLGraph

FORMAT = "crossalign-graph-1"
SUFFIX = ".dgl"


@dataclass(frozen=True)
class GraphFile:
    """What `write_graph` wrote.

    Attributes:
        files: the graph first, then what lies beside it.
        about: what the `.json` says.
    """

    files: tuple[Path, ...]
    about: dict[str, Any]


def write_graph(
    file: str | os.PathLike[str],
    dataset: Dataset,
    options: GraphOptions | None = None,
    *,
    relations: Iterable[str] = ("interacts", "interacted_by"),
    features: bool = False,
    splits: bool = False,
) -> GraphFile:
    """Build the heterograph of `dataset` and write it with the ids of its nodes.

    Args:
        file: ends in `.dgl`.
        dataset: the data set; edges are made of its training split only.
        options: as in `build_graph`.
        relations: as in `build_graph`.
        features: whether items carry their content, `(n_items, d)` float32 under the name of the
            modality, and `<modality>_missing`, uint8, 1 where one lacks it.
        splits: whether the file holds the pairs of all splits, `(2, n)` int64 rows users and items
            under `train`, `valid` and `test`, as the dictionary that `dgl.load_graphs` returns
            beside the graphs.

    Raises:
        ConfigError: the name has another ending, or the relations cannot be built.
        RunError: the files cannot be written.
    """
    file, options = Path(file), options or GraphOptions()
    if file.suffix != SUFFIX:
        raise ConfigError(f"{file}: a graph is written as {SUFFIX}, such as {file.stem}{SUFFIX}")
    names = tuple(dict.fromkeys(relations))
    graph = build_graph(dataset, options, relations=names)
    if features:
        _add_features(graph, dataset)
    pairs = {split: dataset.split(split).contiguous() for split in SPLITS} if splits else {}

    from .dgl_import import dgl

    with atomic_path(file) as path:
        dgl.save_graphs(str(path), [graph], pairs or None)
    written = [file]
    for node_type, ids in (("user", dataset.user_ids), ("item", dataset.item_ids)):
        if node_type in graph.ntypes:
            beside = file.with_suffix(f".{node_type}s.csv")
            nodes = np.arange(graph.num_nodes(node_type))
            with atomic_path(beside) as path:
                write_csv(path, pd.DataFrame({"node": nodes, "id": nodes if ids is None else ids}))
            written.append(beside)
    about = {
        "format": FORMAT,
        "dataset": dataset.name,
        "data_hash": dataset_hash(dataset),
        "relations": list(names),
        "options": asdict(options),
        "nodes": {node_type: graph.num_nodes(node_type) for node_type in graph.ntypes},
        "edges": [[*etype, graph.num_edges(etype)] for etype in graph.canonical_etypes],
        "features": {name: dataset.features[name].shape[1] for name in dataset.modalities}
        if features
        else {},
        "splits": {split: found.shape[1] for split, found in pairs.items()},
        "split_rule": dataset.split_rule,
    }
    beside = file.with_suffix(".json")
    write_text(beside, json.dumps(about, indent=2) + "\n")
    return GraphFile((*written, beside), about)


def _add_features(graph: DGLGraph, dataset: Dataset) -> None:
    if not dataset.features:
        raise ConfigError(f"data set '{dataset.name}' has no features to put into the graph")
    if "item" not in graph.ntypes:
        raise ConfigError("features belong to items: ask for a relation that has items too")
    for modality, table in dataset.features.items():
        graph.nodes["item"].data[modality] = table
        if modality in dataset.missing:
            graph.nodes["item"].data[f"{modality}_missing"] = dataset.missing[modality].byte()
