"""A hash of what a data set says, so that nothing derived from it can be stale."""

from __future__ import annotations

import hashlib

from torch import Tensor

from ..datasets.dataset import SPLITS, Dataset


def dataset_hash(dataset: Dataset) -> str:
    """Hex digest of sizes, interactions, features, missing rows and ready graphs.

    Two data sets with the same digest give the same graphs, neighbours and training. Names, id
    maps and notes do not count; the order of interactions and modalities does.
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"{dataset.n_users} {dataset.n_items}".encode())
    for split in SPLITS:
        _add(digest, split, dataset.split(split))
    for kind in ("features", "missing"):
        for modality, tensor in getattr(dataset, kind).items():
            _add(digest, f"{kind} {modality}", tensor)
    for modality, item_graph in dataset.item_graphs.items():
        _add(digest, f"edges {modality}", item_graph.edges)
        _add(digest, f"similarity {modality}", item_graph.similarity)
    return digest.hexdigest()


def tensor_hash(tensor: Tensor) -> str:
    """Hex digest of type, shape and values of a tensor."""
    digest = hashlib.blake2b(digest_size=16)
    _add(digest, "", tensor)
    return digest.hexdigest()


def _add(digest: hashlib.blake2b, name: str, tensor: Tensor) -> None:
    """Feed name, type, shape and bytes of a tensor."""
    array = tensor.detach().cpu().contiguous().numpy()
    digest.update(f"|{name} {array.dtype.str} {array.shape}|".encode())
    digest.update(array.reshape(-1).data)
