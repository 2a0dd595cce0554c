"""From a data set to the heterograph that backbones pass messages on.

To add a relation, write a function that yields its `Relation`s and name it in `RELATIONS`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..datasets.dataset import Dataset
from ..errors import ConfigError, unknown_name
from .cache import cached_graph
from .cooccurrence import cooccurrence_neighbors
from .interests import mean_content
from .knn import feature_knn, unified_features
from .options import DEFAULT_COOCCURRING, GraphOptions
from .resumable import Work

if TYPE_CHECKING:
    from .dgl_import import DGLGraph

logger = logging.getLogger(__name__)


class Relation(NamedTuple):
    """The edges of one canonical edge type."""

    etype: tuple[str, str, str]
    """source node type, name, destination node type"""
    src: Tensor
    """`(n_edges,)` int64"""
    dst: Tensor
    """`(n_edges,)` int64"""
    weight: Tensor | None = None
    """`(n_edges,)` float32"""


def build_graph(
    dataset: Dataset,
    options: GraphOptions | None = None,
    *,
    relations: Iterable[str] = ("interacts", "interacted_by"),
    cache_dir: str | os.PathLike[str] | None = None,
) -> DGLGraph:
    """The DGL heterograph of a data set: training interactions and item relations.

    | relation | canonical edge type | edge data |
    |---|---|---|
    | `interacts` | `('user', 'interacts', 'item')` | |
    | `interacted_by` | `('item', 'interacted_by', 'user')` | |
    | `similar` | `('item', 'similar_<modality>', 'item')` for each modality | `weight`: cosine |
    | `unified` | `('item', 'unified', 'item')`, by all features side by side | `weight`: cosine |
    | `cooccurs` | `('item', 'cooccurs', 'item')` | `weight`: number of common users |
    | `user_cooccurs` | `('user', 'cooccurs', 'user')` | `weight`: number of common items |
    | `interests` | `('user', 'interest_<modality>', 'user')` for each | `weight`: cosine |

    Users are alike by the mean features of their items.
    Messages of the last five flow from the neighbour to the node whose neighbour it is, so the
    in-degree of every node is the number of its neighbours. A modality's ready graph is preferred
    to its features; items without features get no edges. Both node types carry `degree`, int64,
    the number of training interactions.

    Args:
        dataset: the data set; only its training split is used.
        options: numbers of neighbours and how they are searched; None for the defaults.
        relations: names from the table.
        cache_dir: folder for graphs that were built before. They are found by a hash of the
            data, the options and the relations, so a stale graph is never used.

    Raises:
        ConfigError: unknown relation, or one that this data set or these options cannot give.
    """
    options = GraphOptions() if options is None else options
    names = tuple(dict.fromkeys(relations))
    if not names:
        raise ConfigError(f"a graph needs at least one relation of: {', '.join(RELATIONS)}")
    for name in names:
        if name not in RELATIONS:
            raise unknown_name("relation", name, RELATIONS)
    if cache_dir is None:
        return _build(dataset, options, names)
    return cached_graph(cache_dir, dataset, options, names, lambda: _build(dataset, options, names))


def _build(dataset: Dataset, options: GraphOptions, names: tuple[str, ...]) -> DGLGraph:
    """Build the graph, without the cache."""
    from .dgl_import import dgl  # importing DGL takes seconds: only where a graph is made

    relations = [relation for name in names for relation in RELATIONS[name](dataset, options)]
    counts = {"user": dataset.n_users, "item": dataset.n_items}
    graph = dgl.heterograph({r.etype: (r.src, r.dst) for r in relations}, num_nodes_dict=counts)
    for relation in relations:
        if relation.weight is not None:
            graph.edges[relation.etype].data["weight"] = relation.weight
    for node_type, ids in zip(("user", "item"), dataset.train, strict=True):
        if node_type in graph.ntypes:
            degree = torch.bincount(ids, minlength=counts[node_type])
            graph.nodes[node_type].data["degree"] = degree
    return graph


def _interacts(dataset: Dataset, options: GraphOptions) -> Iterator[Relation]:
    users, items = dataset.train
    yield Relation(("user", "interacts", "item"), users, items)


def _interacted_by(dataset: Dataset, options: GraphOptions) -> Iterator[Relation]:
    users, items = dataset.train
    yield Relation(("item", "interacted_by", "user"), items, users)


def _similar(dataset: Dataset, options: GraphOptions) -> Iterator[Relation]:
    """One relation for each modality that has a ready graph or features."""
    modalities = dict.fromkeys((*dataset.modalities, *dataset.item_graphs))
    if not modalities:
        raise ConfigError(
            f"data set '{dataset.name}' has neither features nor ready item graphs: relation "
            "'similar' needs <modality>_feat.npy or <modality>_knn*.npz, or another backbone"
        )
    for modality in modalities:
        if modality in dataset.item_graphs:
            item, neighbor, weight = _ready_graph(dataset, modality, options)
        else:
            ids, cosine = feature_knn(
                dataset.features[modality],
                min(options.knn_k, dataset.n_items),
                include_self=options.knn_self,
                missing=dataset.missing.get(modality),
                search=options.knn_search,
                memory_mib=options.memory_mib,
            )
            item, neighbor, weight = _list_edges(ids, cosine)
        yield Relation(("item", f"similar_{modality}", "item"), neighbor, item, weight)


def _unified(dataset: Dataset, options: GraphOptions) -> Iterator[Relation]:
    """Neighbours by all modalities at once; only items without any stay out."""
    if not dataset.features:
        raise ConfigError(
            f"data set '{dataset.name}' has no features: relation 'unified' needs "
            "<modality>_feat.npy, or another backbone"
        )
    features = unified_features(dataset.features)
    ids, cosine = feature_knn(
        features,
        min(options.knn_k, dataset.n_items),
        include_self=options.knn_self,
        missing=~features.any(dim=1),
        search=options.knn_search,
        memory_mib=options.memory_mib,
    )
    item, neighbor, weight = _list_edges(ids, cosine)
    yield Relation(("item", "unified", "item"), neighbor, item, weight)


def _ready_graph(
    dataset: Dataset, modality: str, options: GraphOptions
) -> tuple[Tensor, Tensor, Tensor]:
    """Item, neighbour and cosine of the best `knn_k` edges of each item of a ready graph."""
    ready = dataset.item_graphs[modality]
    keep = (ready.edges[0] != ready.edges[1]) | options.knn_self
    (item, neighbor), weight = ready.edges[:, keep], ready.similarity[keep]
    order = np.lexsort((neighbor.numpy(), -weight.numpy(), item.numpy()))
    item, neighbor, weight = item[order], neighbor[order], weight[order]
    degree = torch.bincount(item, minlength=dataset.n_items)
    place = torch.arange(len(item)) - (degree.cumsum(0) - degree)[item]
    if options.knn_k > int(degree.max()):
        logger.warning(
            "the ready graph of '%s' has at most %d neighbours per item; knn_k=%d has no effect",
            modality,
            int(degree.max()),
            options.knn_k,
        )
    best = place < options.knn_k
    return item[best], neighbor[best], weight[best]


def _interests(dataset: Dataset, options: GraphOptions) -> Iterator[Relation]:
    """One relation between users for each modality; those without any content stay out."""
    if not dataset.features:
        raise ConfigError(
            f"data set '{dataset.name}' has no features: relation 'interests' needs "
            "<modality>_feat.npy, or another backbone"
        )
    users, items = dataset.train
    for modality, features in dataset.features.items():
        ids, cosine = feature_knn(
            mean_content(users, items, dataset.n_users, features),
            options.user_knn_k,
            include_self=options.knn_self,
            search=options.knn_search,
            memory_mib=options.memory_mib,
        )
        user, neighbor, weight = _list_edges(ids, cosine)
        yield Relation(("user", f"interest_{modality}", "user"), neighbor, user, weight)


def _cooccurs(dataset: Dataset, options: GraphOptions) -> Iterator[Relation]:
    yield _cooccurrence("item", dataset.train, dataset.n_users, dataset.n_items, options)


def _user_cooccurs(dataset: Dataset, options: GraphOptions) -> Iterator[Relation]:
    items_users = dataset.train.flip(0)
    yield _cooccurrence("user", items_users, dataset.n_items, dataset.n_users, options)


def _cooccurrence(
    node_type: str, pairs: Tensor, n_others: int, n_nodes: int, options: GraphOptions
) -> Relation:
    """Edges between the nodes in the second row of `pairs` that share most of the first."""
    k = min(options.cooccur_k or DEFAULT_COOCCURRING, max(1, n_nodes - 1))
    how = Work(memory_mib=options.memory_mib)
    found = cooccurrence_neighbors(pairs, n_others, n_nodes, k, how=how)
    node, neighbor, count = _list_edges(found.ids, found.counts.to(torch.float32))
    return Relation((node_type, "cooccurs", node_type), neighbor, node, count)


def _list_edges(ids: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Node, neighbour and value of all entries of `(n, k)` lists but the padding."""
    node, place = torch.nonzero(ids >= 0, as_tuple=True)
    return node, ids[node, place], values[node, place]


RELATIONS: dict[str, Callable[[Dataset, GraphOptions], Iterator[Relation]]] = {
    "interacts": _interacts,
    "interacted_by": _interacted_by,
    "similar": _similar,
    "unified": _unified,
    "cooccurs": _cooccurs,
    "user_cooccurs": _user_cooccurs,
    "interests": _interests,
}
