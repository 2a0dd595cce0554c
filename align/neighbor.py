"""Neighbour-level alignment (CNA): an item shall resemble the items of similar feedback."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence, Sized
from dataclasses import InitVar, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ..errors import ConfigError, require_positive_temperature
from ..tensors.functional import contrastive_sum, unit_rows
from ..tensors.ids import at_hand, sorted_ids
from ..tensors.tables import Table
from .base import ALIGNERS, Alignment
from .batch import Batch, Views
from .loss import Loss

Reduction = Literal["mean", "param_attn"]


def neighbor_level(
    views: Views,
    anchors: Tensor,
    neighbors: Tensor,
    usable: Tensor | None,
    attention: Tensor,
    temperature: float,
) -> tuple[Tensor, Tensor]:
    """Contrast each item with the weighted mean of its neighbours, in every modality (CROSS).

    Args:
        views: rows of the items and of their neighbours, in every modality.
        anchors: `(n,)` row of each distinct item of the batch.
        neighbors: `(n, k)` rows of its neighbours.
        usable: `(n, k)` bool, False where there is no such neighbour; None if all have k.
        attention: `(k,)` weight of each rank, sums to one; among fewer neighbours, in proportion.
        temperature: positive.

    Returns:
        The contrastive loss (mean over items, mean over modalities), and half the squared norm of
        the neighbour means (sum over items and modalities).
    """
    contrast, norm = [], []
    scale = attention.new_full((), temperature)
    each = torch.arange(len(anchors), device=anchors.device)
    for m, rows in enumerate(views.rows):
        left, there = usable, None
        if views.present is not None:
            there = views.present[m][anchors]
            here = views.present[m][neighbors]
            left = here if usable is None else here & usable
        weights = attention.new_ones(len(anchors)) if there is None else there.to(attention.dtype)
        if left is None:
            mean = rank_mean(rows, neighbors, attention)
        else:
            mean = mean_of_left(rows, neighbors, left, attention, anchors)
        own = rows.index_select(0, anchors)
        found = contrastive_sum(own, unit_rows(mean), each, scale, weights, allowed=there)
        contrast.append(found / weights.sum().clamp_min(1))
        norm.append((mean.square().sum(1) * weights).sum() / 2)
    return torch.stack(contrast).mean(), torch.stack(norm).sum()


def mean_of_left(
    rows: Tensor, near: Tensor, left: Tensor, attention: Tensor, anchors: Tensor
) -> Tensor:
    """Mean of the neighbours that are left, `(n, dim)`, weighted in proportion to `attention`.

    Args:
        rows: the table.
        near: `(n, k)` positions of neighbours.
        left: `(n, k)` bool, those that take part.
        attention: `(k,)` positive weights.
        anchors: `(n,)` position of the item itself, which stands in where nothing is left.
    """
    none = ~left.any(1)
    near = torch.where(none.unsqueeze(1), anchors.unsqueeze(1), near)
    weights = attention * (left | none.unsqueeze(1))
    weights = weights / weights.sum(1, keepdim=True).clamp_min(torch.finfo(rows.dtype).tiny)
    n, k = near.shape
    gathered = rows.index_select(0, near.flatten()).view(n, k, rows.shape[1])
    # A row without content takes no part, whatever it holds.
    gathered = gathered.masked_fill((weights == 0).unsqueeze(2), 0.0)
    return (weights.unsqueeze(1) @ gathered).squeeze(1)


def rank_mean(rows: Tensor, near: Tensor, attention: Tensor) -> Tensor:
    """Weighted mean `sum_k a_k rows[near[:, k]]`, `(n, dim)`, of `(n, k)` neighbour positions."""
    n, k = near.shape
    # Rank first, so that the mean is one vector-matrix product.
    gathered = rows.index_select(0, near.T.flatten()).view(k, n * rows.shape[1])
    return (attention @ gathered).view(n, rows.shape[1])


@dataclass(eq=False, repr=False)
class CNALoss(Loss):
    """Neighbour-level alignment over co-occurrence neighbours (CROSS), terms `cna` and `cna_reg`.

    Call it as published: `cna(item, *content, items)`. Items and neighbours both move. Where an
    item has fewer than `k` neighbours (-1), or some lack a modality, the mean is over those that
    are left, which `mean` weighs alike; an item without any is its own neighbour.

    Args:
        neighbors: `(n_items, k)` int64 ids, best first, -1 where there are fewer; or an object
            with such `ids`, an opened file with `ids`, or the path of a file that
            `crossalign neighbors` wrote.
        cl_temp: temperature of the contrast, constant.
        reduction: `mean` weighs all ranks alike; `param_attn` learns one weight per rank.
        reg_weight: weight of half the squared norm of the neighbour means (sum over the items of
            the batch and the modalities).

    Attributes:
        neighbors: as given, with the item itself where there is none (-1).
        rank_weights: `(k,)` before softmax, trainable with `param_attn` only.

    Raises:
        ConfigError: ids or temperature out of range, or an unknown reduction.
    """

    reads_users: ClassVar[bool] = False
    any_content: ClassVar[bool] = True

    usable: ClassVar[Tensor | None]
    neighbors: InitVar[Any]
    cl_temp: float = 0.2
    reduction: Reduction = "mean"
    reg_weight: float = 0.0
    modalities: Sequence[str] = ("image", "text")

    def __post_init__(self, neighbors: Any) -> None:
        if self.reduction not in ("mean", "param_attn"):
            raise ConfigError(
                f"reduction '{self.reduction}' is unknown: choose 'mean' or 'param_attn'"
            )
        require_positive_temperature("neighbour-level alignment", self.cl_temp)
        self.modalities = tuple(self.modalities)
        table, self._source = read_neighbors(neighbors)
        own = torch.arange(len(table), device=table.device).unsqueeze(1)
        known = table >= 0
        self.register_buffer("neighbors", torch.where(known, table, own), persistent=False)
        self.register_buffer("usable", None if known.all() else known, persistent=False)
        learnt = self.reduction == "param_attn"
        self.rank_weights = nn.Parameter(torch.ones(table.shape[1]), requires_grad=learnt)

    def on(self, batch: Batch) -> dict[str, Tensor]:
        """The parts of the loss, `cna` and `cna_reg`; the latter includes `reg_weight`."""
        contrast, norm = self.contrast(batch, batch.around)
        return {"cna": contrast, "cna_reg": norm * self.reg_weight}

    def contrast(self, batch: Batch, views: Views) -> tuple[Tensor, Tensor]:
        """What `neighbor_level` gives for the batch's items in some views of `batch.reach`."""
        self._require_same_catalogue(batch.tables.item)
        items = batch.items.ids
        anchors, near = batch.positions(items), batch.positions(self._table[items])
        usable = None if self.usable is None else self.usable[items]
        learnt = self.reduction == "param_attn"
        weights = self.rank_weights if learnt else torch.ones_like(self.rank_weights)
        attention = weights.softmax(0).to(views.rows[0].dtype)
        return neighbor_level(views, anchors, near, usable, attention, self.cl_temp)

    @property
    def _table(self) -> Tensor:
        """The buffer `neighbors`, which shares its name with the argument."""
        return self.get_buffer("neighbors")

    def reach(self, items: Tensor) -> Tensor:
        """Sorted ids of `items` and all their neighbours; see `sorted_ids` for repeats.

        Raises:
            ConfigError: the neighbours are those of a smaller catalogue.
        """
        if len(items) and at_hand(items) and int(items[-1]) >= len(self._table):
            raise self._other_catalogue(f"the batch has item {int(items[-1])}")
        return sorted_ids(items, self._table[items].flatten())

    def _require_same_catalogue(self, item: Table) -> None:
        if isinstance(item, Sized) and len(item) != len(self._table):
            raise self._other_catalogue(f"the tables of the items have {len(item)} rows")

    def _other_catalogue(self, found: str) -> ConfigError:
        return ConfigError(
            f"{self._source} of {len(self._table)} items, but {found}: give whole tables, one "
            "row for each item of the catalogue, and neighbours of the same catalogue"
        )


def read_neighbors(given: Any) -> tuple[Tensor, str]:
    """A checked `(n_items, k)` table of neighbours, and what to call it in messages.

    Args:
        given: a tensor or array, an object with such `ids`, a mapping or opened file with `ids`, or
            the path of a file or folder that `crossalign neighbors` wrote.

    Raises:
        ConfigError: there is no such file, or it holds no table of ids.
    """
    source = "neighbors are"
    if isinstance(given, str | os.PathLike) or hasattr(given, "read"):
        source = f"{_name(given)} holds neighbours"
        given = _opened(given)
    elif isinstance(given, Mapping) or hasattr(given, "files"):  # what numpy.load gives
        name = _name(getattr(given, "fid", "the mapping"))
        given, source = _ids(given, name), f"{name} holds neighbours"
    table = getattr(given, "ids", given)
    try:
        if hasattr(table, "__array__") and not isinstance(table, Tensor):
            table = table.copy()  # a file that is mapped into memory cannot be written
        table = torch.as_tensor(table)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"neighbors must be an integer (n_items, k) table, not {type(given).__name__}"
        ) from error
    check_neighbors(table)
    return table, source


def _opened(file: Any) -> Any:
    """The array `ids` in a neighbour file or folder, or in a binary file that is open."""
    numpy = importlib.import_module("numpy")
    is_folder = not hasattr(file, "read") and Path(file).is_dir()
    try:
        found = numpy.load(Path(file) / "ids.npy" if is_folder else file, allow_pickle=False)
        return _ids(found, _name(file)) if hasattr(found, "files") else found
    except FileNotFoundError as error:
        raise ConfigError(
            f"neighbour file {error.filename} does not exist: make it with `crossalign neighbors`"
        ) from error
    except Exception as error:  # a damaged file can raise nearly anything
        raise _no_neighbors(_name(file)) from error


def _ids(found: Mapping[str, Any], name: object) -> Any:
    if "ids" not in found:
        raise _no_neighbors(name)
    return found["ids"]


def _name(file: Any) -> object:
    """What a file is called, be it a path or open."""
    return getattr(file, "name", "the file") if hasattr(file, "read") else file


def _no_neighbors(name: object) -> ConfigError:
    return ConfigError(
        f"{name} cannot be read as neighbours: give what `crossalign neighbors` wrote"
    )


def check_neighbors(neighbors: Tensor) -> None:
    """Refuse anything but an integer `(n_items, k)` table of ids from -1 to `n_items - 1`."""
    if neighbors.dim() != 2 or neighbors.is_floating_point() or not neighbors.shape[1]:
        raise ConfigError(
            f"neighbors must be an integer (n_items, k) table, not {neighbors.dtype} "
            f"{tuple(neighbors.shape)}"
        )
    bad = ((neighbors < -1) | (neighbors >= len(neighbors))).nonzero()
    if len(bad):
        row, rank = bad[0].tolist()
        raise ConfigError(
            f"neighbors[{row}, {rank}] is {int(neighbors[row, rank])}, outside -1 .. "
            f"{len(neighbors) - 1}: were they computed for another catalogue?"
        )


@ALIGNERS.register("cna", paper="CROSS, 2026")
@dataclass(kw_only=True, eq=False, repr=False)
class NeighborAlignment(Alignment):
    """Neighbour-level alignment of each item with the items of similar feedback; see `CNALoss`.

    Args:
        weight: weight of the contrast and its regulariser; try 1e-4 to 1e-1.
        reg_weight: weight of the squared norm of neighbour means, inside weight.
        temperature: 0.1 to 0.5; constant.
        reduction: weigh all neighbour ranks alike (mean) or learn the weights (param_attn).
    """

    needs_neighbors: ClassVar[bool] = True

    weight: float = 0.01
    reg_weight: float = 0.0
    temperature: float = 0.2
    reduction: Reduction = "mean"

    def __post_init__(self, *data: Any) -> None:
        super().__post_init__(*data)
        how = self.temperature, self.reduction, self.reg_weight, self.modalities
        self.cna = CNALoss(data[-1], *how)
        self.weigh("cna", self.weight)
