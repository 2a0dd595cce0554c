"""Graphs on disk, found by a hash of everything they depend on.

A graph is two files: `graph-<key>.dgl`, DGL's own format, and `graph-<key>.json`, which says
what it was made of and holds the checksum of the first.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ..checksums import file_checksum
from ..datasets.dataset import Dataset
from ..fileio import atomic_path, write_text
from .content_hash import dataset_hash

if TYPE_CHECKING:
    from .dgl_import import DGLGraph
    from .options import GraphOptions

FORMAT = 2
"""Raise when the rules of `build` change, so that older files are not used."""

logger = logging.getLogger(__name__)


def cached_graph(
    cache_dir: str | os.PathLike[str],
    dataset: Dataset,
    options: GraphOptions,
    relations: tuple[str, ...],
    build: Callable[[], DGLGraph],
) -> DGLGraph:
    """The graph from `cache_dir`, or from `build`, which is then stored.

    A damaged file is reported as a warning and replaced.

    Args:
        cache_dir: folder; made if it does not exist.
        dataset: what the graph is made of.
        options: how it is made.
        relations: names of its relations, in order.
        build: makes the graph.
    """
    source = {
        "format": FORMAT,
        "data": dataset_hash(dataset),
        "options": asdict(options),
        "relations": list(relations),
    }
    from .dgl_import import dgl

    key = hashlib.sha256(json.dumps(source, sort_keys=True).encode()).hexdigest()[:32]
    path = Path(cache_dir) / f"graph-{key}.dgl"
    graph = _load(path)
    if graph is None:
        graph = build()
        with atomic_path(path) as temporary:
            dgl.save_graphs(str(temporary), [graph])
            checksum = file_checksum(temporary)
        write_text(path.with_suffix(".json"), json.dumps({**source, "sha256": checksum}, indent=2))
    return graph


def _load(path: Path) -> DGLGraph | None:
    """The stored graph, or None if there is none or it is damaged."""
    about = path.with_suffix(".json")
    if not path.exists() and not about.exists():
        return None
    try:
        # The checksum comes first: DGL's reader does not survive every kind of damage.
        if json.loads(about.read_text(encoding="utf-8"))["sha256"] == file_checksum(path):
            from .dgl_import import dgl

            graphs, _ = dgl.load_graphs(str(path))
            return graphs[0]
        problem = "its checksum is wrong"
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = str(error)
    logger.warning("cached graph %s is damaged (%s); building it again", path, problem)
    return None
