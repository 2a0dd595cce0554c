"""A backbone's tables on the hosts: rows by id, their optimiser, and how they are drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..graphs.dgl_import import dgl
from ..models.base import Backbone, RowTables
from ..training.rows import tables_of
from ..training.seeding import generator
from .cluster import Cluster, Remote

BLOCK = 1 << 16
"""Rows that are drawn, read or written at a time."""


class SideBySide:
    """Several tables as one, `(n, sum of widths)`."""

    def __init__(self, tables: list[Remote]) -> None:
        self.tables = tables

    def __getitem__(self, ids: Tensor, /) -> Tensor:
        return torch.cat([table[ids] for table in self.tables], dim=1)


class RemoteRows:
    """Rows of a backbone's tables, wherever their nodes lie.

    Trained tables are `DistEmbedding`s: their gradients go to the rows that were read. Frozen ones
    are the features that travelled with the graph.

    Args:
        cluster: where.
        backbone: made for one user and one item; its own tables are only read for their form.

    Attributes:
        trained: full name -> `DistEmbedding`.
        kinds: full name of every table -> type of its nodes.

    Raises:
        ConfigError: a table is neither drawn like Xavier nor made of features.
    """

    def __init__(self, cluster: Cluster, backbone: Backbone) -> None:
        self.cluster = cluster
        self.trained: dict[str, Any] = {}
        self.kinds: dict[str, str] = {}
        self._drawn: dict[str, str | None] = {}
        self._names: dict[str, list[str]] = {}
        self._frozen: dict[str, Any] = {}
        for prefix, kind in {**backbone.row_tables, **backbone.loss_tables}.items():
            self._names[prefix] = []
            for name, table in tables_of(backbone, prefix):
                self._names[prefix].append(name)
                self.kinds[name] = kind
                if isinstance(table, nn.Parameter):
                    self._drawn[name] = getattr(table, "xavier", None)
                    self.trained[name] = _embedding(cluster, kind, table.shape[1], name)
                    table.requires_grad_(False)  # it stands for the rows
                else:
                    self._frozen[name] = features_of(cluster, name, table.shape[1])

    def __call__(self, names: RowTables, users: Tensor, items: Tensor) -> dict[str, Tensor]:
        """Rows of distinct places, by the full names of the backbone's tables."""
        return {
            name: self._rows(name, users if kind == "user" else items)
            for prefix, kind in names.items()
            for name in self._names[prefix]
        }

    def _rows(self, name: str, ids: Tensor) -> Tensor:
        if name in self.trained:
            return self.trained[name](ids)
        return self._frozen[name][ids]

    def draw(self, seed: int) -> None:
        """Fill every trained table: from the seed alone, however many trainers there are."""
        for name, table in self.trained.items():
            n, width = table.num_embeddings, table.embedding_dim
            for ids in self.own_blocks(name):
                if self._drawn[name] is None:
                    table.weight[ids] = features_of(self.cluster, name, width)[ids]
                else:
                    block = int(ids[0]) // BLOCK
                    rng = generator(seed, f"{name} {block}")
                    rows = _xavier(self._drawn[name], n, width, rng)
                    table.weight[ids] = rows[ids - block * BLOCK]
        self.cluster.barrier()

    def own_blocks(self, name: str) -> Iterator[Tensor]:
        """Places of this trainer's rows of a table, some at a time; none crosses a block."""
        return blocks(*self.cluster.own(self.kinds[name]))


def blocks(first: int, last: int) -> Iterator[Tensor]:
    """`first .. last - 1`, cut at multiples of `BLOCK`."""
    while first < last:
        end = min(last, (first // BLOCK + 1) * BLOCK)
        yield torch.arange(first, end)
        first = end


def features_of(cluster: Cluster, name: str, width: int) -> Any:
    """The features that a table is made of: those of a modality, or all side by side."""
    modalities = cluster.parts.modalities
    modality = name.rpartition(".")[2]
    if modalities.get(modality) == width:
        return cluster.data("item", f"feature_{modality}")
    if sum(modalities.values()) == width:
        return SideBySide([cluster.data("item", f"feature_{m}") for m in modalities])
    raise ConfigError(f"table '{name}' of the backbone is not made of features: train on one host")


def _embedding(cluster: Cluster, kind: str, width: int, name: str) -> Any:
    n = cluster.graph.num_nodes(kind)
    policy = cluster.graph.get_node_partition_policy(kind)
    return dgl.distributed.DistEmbedding(n, width, name=name, part_policy=policy)


def _xavier(kind: str | None, n: int, width: int, rng: torch.Generator) -> Tensor:
    """`(BLOCK, width)` rows of a table of `n`, as `xavier_table` draws them."""
    std = (2.0 / (n + width)) ** 0.5
    if kind == "normal":
        return torch.empty(BLOCK, width).normal_(0.0, std, generator=rng)
    bound = 3.0**0.5 * std
    return torch.empty(BLOCK, width).uniform_(-bound, bound, generator=rng)


_SparseAdam: Any = dgl.distributed.optim.SparseAdam


class RowAdam(_SparseAdam):
    """DGL's sparse Adam for losses that are parts of a mean.

    DGL takes for a row the mean of the gradients that trainers send for it. Here a row's gradient
    is that of the mean of the trainers' losses, whether or not all of them read it. Bias is
    corrected by the steps of each row.
    """

    def step(self) -> None:
        """One update; all trainers must call it."""
        for table in self._params:  # rows that no loss depends on
            table._trace = [read for read in table._trace if read[1].grad is not None]
        super().step()

    def update(self, idx: Tensor, grad: Tensor, emb: Any) -> None:
        """Update the rows `idx`, of which some may be named several times."""
        ids, of = idx.unique(return_inverse=True)
        total = grad.new_zeros(len(ids), grad.shape[1]).index_add_(0, of, grad)
        super().update(ids, total / self._world_size, emb)

    def set_rate(self, rate: float) -> None:
        """Learning rate from now on."""
        self._lr = rate

    def moments(self, name: str) -> Mapping[str, Remote]:
        """Steps and both moments of a table."""
        table = next(table for table in self._params if table.name == name)
        return dict(zip(("step", "mean", "square"), self._state[table.name], strict=True))
