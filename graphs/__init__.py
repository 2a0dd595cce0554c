"""Graphs: heterographs from data sets, message passing, and nearest-neighbour lists."""

from .adjacency import Adjacency
from .approximate import Candidates, approximate_neighbors, recall_at_k
from .best_items import Similarity
from .build import build_graph
from .content_hash import dataset_hash
from .cooccurrence import cooccurrence_neighbors
from .graph_file import GraphFile, write_graph
from .knn import FeatureNeighbors, feature_knn, feature_neighbors
from .neighbors import Neighbors, load_neighbors, save_neighbors
from .options import GraphOptions, NeighborOptions
from .propagation import BipartitePropagation
from .regression import Regression, content_trust, regressed_neighbors
from .resumable import Work

__all__ = [
    "Adjacency",
    "BipartitePropagation",
    "Candidates",
    "FeatureNeighbors",
    "GraphFile",
    "GraphOptions",
    "NeighborOptions",
    "Neighbors",
    "Regression",
    "Similarity",
    "Work",
    "approximate_neighbors",
    "build_graph",
    "content_trust",
    "cooccurrence_neighbors",
    "dataset_hash",
    "feature_knn",
    "feature_neighbors",
    "load_neighbors",
    "recall_at_k",
    "regressed_neighbors",
    "save_neighbors",
    "write_graph",
]
