"""Graphs: heterographs from data sets, message passing, and nearest-neighbour lists."""

from .build import GraphOptions, build_graph
from .content_hash import dataset_hash
from .cooccurrence import cooccurrence_neighbors
from .knn import feature_knn
from .neighbors import Neighbors
from .propagation import Adjacency, BipartitePropagation

__all__ = [
    "Adjacency",
    "BipartitePropagation",
    "GraphOptions",
    "Neighbors",
    "build_graph",
    "cooccurrence_neighbors",
    "dataset_hash",
    "feature_knn",
]
