"""Neighbour-level alignment (CNA): an item shall resemble the items of similar feedback."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..errors import ConfigError, require_positive_temperature
from ..tensors.functional import contrastive_sum, full_precision, unit_rows
from ..tensors.ids import Repeated, sorted_ids
from .rows import ItemViews, Missing, missing_masks, require_same_items


def fill_neighbors(neighbors: Tensor, usable: Tensor, own: Tensor) -> Tensor:
    """Replace unusable neighbours by cycling through the usable ones, in order of rank.

    Args:
        neighbors: `(n, k)` int64.
        usable: `(n, k)` bool.
        own: `(n,)` int64, the item itself; it stands in where no neighbour is usable.

    Returns:
        `(n, k)` int64.
    """
    k = neighbors.shape[1]
    n_usable = usable.sum(1, keepdim=True)
    first = (~usable).to(torch.uint8).argsort(dim=1, stable=True)
    turn = torch.arange(k, device=neighbors.device) % n_usable.clamp_min(1)
    filled = neighbors.gather(1, first.gather(1, turn))
    return torch.where(n_usable > 0, filled, own.unsqueeze(1))


def neighbor_level(
    views: ItemViews, anchors: Tensor, neighbors: Tensor, attention: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Contrast each item with the weighted mean of its neighbours, in every modality (CROSS).

    Args:
        views: rows of the items and of their neighbours, in every modality.
        anchors: `(n,)` row of each distinct item of the batch.
        neighbors: `(n, k)` rows of its neighbours.
        attention: `(k,)` weight of each rank, sums to one.
        temperature: positive.

    Returns:
        The contrastive loss (mean over items, mean over modalities), and half the squared norm of
        the neighbour means (sum over items and modalities).
    """
    contrast, norm = [], []
    scale = attention.new_full((), temperature)
    each = torch.arange(len(anchors), device=anchors.device)
    for m, rows in enumerate(views.rows):
        near, there = neighbors, None
        if views.present is not None:
            there = views.present[m][anchors]
            near = fill_neighbors(neighbors, views.present[m][neighbors], anchors)
        weights = attention.new_ones(len(anchors)) if there is None else there.to(attention.dtype)
        mean = rank_mean(rows, near, attention)
        own = rows.index_select(0, anchors)
        found = contrastive_sum(own, unit_rows(mean), each, scale, weights, allowed=there)
        contrast.append(found / weights.sum().clamp_min(1))
        norm.append((mean.square().sum(1) * weights).sum() / 2)
    return torch.stack(contrast).mean(), torch.stack(norm).sum()


def rank_mean(rows: Tensor, near: Tensor, attention: Tensor) -> Tensor:
    """Weighted mean `sum_k a_k rows[near[:, k]]`, `(n, dim)`, of `(n, k)` neighbour positions."""
    n, k = near.shape
    # Rank first, so that the mean is one vector-matrix product.
    gathered = rows.index_select(0, near.T.flatten()).view(k, n * rows.shape[1])
    return (attention @ gathered).view(n, rows.shape[1])


class CNALoss(nn.Module):
    """Neighbour-level alignment over co-occurrence neighbours (CROSS).

    Call it as published: `cna(item, *content, items)`. Items and neighbours both move. Where an
    item has fewer than `k` neighbours (-1) the others are repeated in order; an item without any
    is its own neighbour.

    Args:
        neighbors: `(n_items, k)` int64 ids, best first, -1 where there are fewer.
        cl_temp: temperature of the contrast, constant.
        reduction: `mean` weighs all ranks alike; `param_attn` learns one weight per rank.
        reg_weight: weight of half the squared norm of the neighbour means (sum over the items of
            the batch and the modalities).
        modalities: names of the content tables; only a mapping of missing rows needs them.

    Attributes:
        rank_weights: `(k,)` before softmax, trainable with `param_attn` only.

    Raises:
        ConfigError: ids or temperature out of range, or an unknown reduction.
    """

    neighbors: Tensor

    def __init__(
        self,
        neighbors: Tensor,
        cl_temp: float = 0.2,
        reduction: Literal["mean", "param_attn"] = "mean",
        reg_weight: float = 0.0,
        modalities: Sequence[str] = ("image", "text"),
    ) -> None:
        super().__init__()
        if reduction not in ("mean", "param_attn"):
            raise ConfigError(f"reduction '{reduction}' is unknown: choose 'mean' or 'param_attn'")
        neighbors = torch.as_tensor(getattr(neighbors, "ids", neighbors))
        check_neighbors(neighbors)
        own = torch.arange(len(neighbors), device=neighbors.device)
        filled = fill_neighbors(neighbors.long(), neighbors >= 0, own)
        self.register_buffer("neighbors", filled, persistent=False)
        require_positive_temperature("neighbour-level alignment", cl_temp)
        self.temperature = float(cl_temp)
        self.rank_weights = nn.Parameter(
            torch.ones(neighbors.shape[1]), requires_grad=reduction == "param_attn"
        )
        self.reduction = reduction
        self.reg_weight = reg_weight
        self.modalities = tuple(modalities)

    def forward(self, item: Tensor, *tables: Any, missing: Missing = None) -> Tensor:
        """The loss, a scalar; arguments as in `terms`."""
        terms = self.terms(item, *tables, missing=missing)
        return terms["cna"] + terms["reg"]

    @full_precision
    def terms(self, item: Tensor, *tables: Any, missing: Missing = None) -> dict[str, Tensor]:
        """The parts of the loss, `{"cna": ..., "reg": ...}`; `reg` includes `reg_weight`.

        Args:
            item: `(n_items, dim)`, the `id` modality.
            tables: any number of `(n_items, dim)` content tables, then `items`, `(batch,)` int64;
                repeats count once.
            missing: `(n_items,)` bool masks of items that lack a modality, by name or in order.
        """
        *content, items = tables
        require_same_items(item, self.neighbors)
        distinct = Repeated.of_batch(items).ids
        ids = self.reach(distinct)
        masks = missing_masks(missing, self.modalities, len(content))
        return self.on_rows(ItemViews.gather(item, content, ids, masks), ids, distinct)

    def reach(self, items: Tensor) -> Tensor:
        """Sorted ids of `items` and all their neighbours; see `sorted_ids` for repeats."""
        return sorted_ids(items, self.neighbors[items].flatten())

    def on_rows(self, views: ItemViews, ids: Tensor, items: Tensor) -> dict[str, Tensor]:
        """The loss of distinct `items` on views of the sorted `ids` that `reach` gave."""
        anchors = torch.searchsorted(ids, items)
        near = torch.searchsorted(ids, self.neighbors[items])
        learnt = self.reduction == "param_attn"
        weights = self.rank_weights if learnt else torch.ones_like(self.rank_weights)
        contrast, norm = neighbor_level(views, anchors, near, weights.softmax(0), self.temperature)
        return {"cna": contrast, "reg": norm * self.reg_weight}


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
