"""Cluster-level alignment (CLA): views of one thing shall agree on its soft cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .functional import known_gradient, log_partition, unit_rows
from .products import product, tiled_length, whole_tiles
from .rows import ItemViews, Missing, Pairs, full_precision, missing_masks, read_rows
from .sinkhorn import EPSILON, sinkhorn_scales


def view_loss(
    rows: Tensor,
    counts: Tensor,
    partners: Tensor,
    weights: Tensor,
    prototypes: Tensor,
    temperature: Tensor,
    workspace: Tensor,
) -> Tensor:
    """One view's share of the swapped prediction: its own predictions' normaliser, and its codes.

    A swapped term is `-q_a . log softmax(x_b C / t) = logsumexp(x_b C / t) - (q_a C) . x_b / t`,
    because a code sums to one. So the codes of a row meet the rows they are targets of in `dim`
    dimensions only, through the weighted sum of these rows (`partners`): each view is done on
    its own, and one `(n, K)` matrix is held at a time.

    Args:
        rows: `(n, dim)` unit rows of this view, distinct.
        counts: `(n,)` how often each row occurs in the batch; Sinkhorn balances with them.
        partners: `(n, dim)` weighted sum of the rows whose targets are this row's codes.
        weights: `(n,)` total weight of the predictions made from each row.
        prototypes: `(K, dim)` unit rows.
        temperature: positive scalar.
        workspace: `(tiled_length(n), K)` or longer, overwritten; fresh memory would cost as much
            time as a product.

    Returns:
        Scalar `sum_i weights_i logsumexp(x_i C / t) - (q_i C) . partners_i / t`; the codes `q`
        are constants.
    """
    kernel = workspace[: tiled_length(len(rows), rows)]
    sharpen = temperature.detach() / EPSILON

    def keep(block: slice, logits: Tensor) -> None:
        torch.mul(logits, sharpen, out=kernel[block]).exp2_()

    normaliser = log_partition(rows, prototypes, temperature, weights, visit=keep)
    return normaliser - code_agreement(kernel, counts, partners, prototypes, temperature)


def code_agreement(
    kernel: Tensor, counts: Tensor, partners: Tensor, prototypes: Tensor, temperature: Tensor
) -> Tensor:
    """`sum_i (q_i C) . partners_i / t` with `q` the Sinkhorn codes of `kernel`, constants.

    The two scaling vectors of the codes go into the thin factors of each product, so the codes
    themselves are never formed. Padding rows of the kernel count zero times.
    """
    inputs = (partners, prototypes, temperature)
    moving = torch.is_grad_enabled() and prototypes.requires_grad
    with torch.no_grad():
        n = len(partners)
        row_scale, prototype_scale = sinkhorn_scales(kernel, whole_tiles(counts))
        row_scale = (row_scale / temperature).unsqueeze(1)
        prototype_scale = prototype_scale.unsqueeze(1)
        targets = (product(kernel, prototypes * prototype_scale) * row_scale)[:n]
        value = (targets * partners).sum()
        to_prototypes = None
        if moving:
            pulled = product((whole_tiles(partners) * row_scale).T, kernel)
            to_prototypes = pulled.T * prototype_scale
    return known_gradient(value, inputs, (targets, to_prototypes, -value / temperature))


def user_item_loss(
    user_rows: Tensor,
    item_rows: Tensor,
    pairs: Pairs,
    prototypes: Tensor,
    temperature: Tensor,
    workspace: Tensor,
) -> Tensor:
    """Swapped prediction between the two ends of every pair (FETTLE eq. 9), mean over pairs.

    Args:
        user_rows: `(n_distinct_users, dim)` unit rows.
        item_rows: `(n_distinct_items, dim)` unit rows.
        pairs: the batch.
        prototypes: `(K, dim)` unit rows.
        temperature: positive scalar.
        workspace: `(n, K)` scratch memory for the longer of the two tables.
    """
    share = 1.0 / max(len(pairs), 1)
    ends = (
        (user_rows, pairs.user_of, pairs.user_counts, item_rows, pairs.item_of),
        (item_rows, pairs.item_of, pairs.item_counts, user_rows, pairs.user_of),
    )
    total = user_rows.new_zeros(())
    for rows, position, counts, other_rows, other_position in ends:
        others = other_rows.index_select(0, other_position)
        partners = torch.zeros_like(rows).index_add(0, position, others) * share
        counts = counts.to(rows.dtype)
        total = total + view_loss(
            rows, counts, partners, counts * share, prototypes, temperature, workspace
        )
    return total


def modality_loss(
    views: ItemViews,
    item_counts: Tensor,
    prototypes: Tensor,
    temperature: Tensor,
    workspace: Tensor,
) -> Tensor:
    """Swapped prediction between every ordered pair of modalities (FETTLE eq. 8).

    Each ordered term is a mean over the pairs of the batch whose item has both modalities; items
    that lack a modality take no part in the Sinkhorn balance of that modality.

    Args:
        views: the distinct items in every modality.
        item_counts: `(n,)` pairs of each item.
        prototypes: `(K, dim)` unit rows.
        temperature: positive scalar.
        workspace: `(n, K)` scratch memory.
    """
    counts = item_counts.to(prototypes.dtype)
    total = prototypes.new_zeros(())
    for m, rows in enumerate(views.rows):
        partners, weights = torch.zeros_like(rows), torch.zeros_like(counts)
        for n, other_rows in enumerate(views.rows):
            if n != m:
                share = _pair_share(counts, views.present, m, n)
                partners = torch.addcmul(partners, other_rows, share.unsqueeze(1))
                weights = weights + share
        kept_counts = counts
        if views.present is not None:
            kept = views.present[m].nonzero().squeeze(1)
            rows, kept_counts, partners, weights = (
                x.index_select(0, kept) for x in (rows, counts, partners, weights)
            )
        total = total + view_loss(
            rows, kept_counts, partners, weights, prototypes, temperature, workspace
        )
    return total


def _pair_share(counts: Tensor, present: Tensor | None, m: int, n: int) -> Tensor:
    """Weight of each item in the mean over pairs whose item has both modalities."""
    both = counts if present is None else counts * (present[m] & present[n])
    return both / both.sum().clamp_min(1)


class CLALoss(nn.Module):
    """Cluster-level alignment, `L_UI / 2 + L_modalities / (|M| (|M| - 1))`.

    FETTLE (SIGIR 2024) eq. 7-9. Two codebooks of prototypes: one makes the user and the item of a
    pair agree on a soft cluster, the other the modalities of an item. Codes come from three
    rounds of Sinkhorn balancing and are constants.

    Call it as published: `cla(user, item, *content, users, items)`.

    Args:
        K: number of prototypes of each codebook.
        D: width of all tables.
        gamma: initial temperature; it is learnt and kept in [0.01, 0.99].
        modalities: names of the content tables; only a mapping of missing rows needs them.

    Attributes:
        prototypes_user_item: `(K, D)`, rows normalised in place at every call.
        prototypes_modalities: `(K, D)`, likewise.
        temperature: scalar parameter.
    """

    def __init__(
        self,
        K: int = 10240,
        D: int = 64,
        gamma: float = 0.2,
        modalities: Sequence[str] = ("image", "text"),
    ) -> None:
        super().__init__()
        self.modalities = tuple(modalities)
        self.prototypes_user_item = nn.Parameter(nn.init.xavier_uniform_(torch.empty(K, D)))
        self.prototypes_modalities = nn.Parameter(nn.init.xavier_uniform_(torch.empty(K, D)))
        self.temperature = nn.Parameter(torch.tensor(float(gamma)))

    def forward(self, user: Tensor, item: Tensor, *tables: Any, missing: Missing = None) -> Tensor:
        """The loss, a scalar; arguments as in `terms`."""
        terms = self.terms(user, item, *tables, missing=missing)
        return terms["user_item"] + terms["modalities"]

    @full_precision
    def terms(
        self, user: Tensor, item: Tensor, *tables: Any, missing: Missing = None
    ) -> dict[str, Tensor]:
        """The two scaled parts of the loss, `{"user_item": ..., "modalities": ...}`.

        Args:
            user: `(n_users, D)`.
            item: `(n_items, D)`, the `id` modality.
            tables: any number of `(n_items, D)` content tables, then `users` and `items`,
                `(batch,)` int64 each.
            missing: `(n_items,)` bool masks of items that lack a modality, by name or in order.
        """
        *content, users, items = tables
        pairs = Pairs.of(users, items)
        masks = missing_masks(missing, self.modalities, len(content))
        views = ItemViews.gather(item, content, pairs.items, masks)
        return self.on_rows(unit_rows(read_rows(user, pairs.users)), views, pairs)

    def on_rows(self, user_rows: Tensor, views: ItemViews, pairs: Pairs) -> dict[str, Tensor]:
        """The loss on rows that are gathered and normalised already."""
        with torch.no_grad():
            self.temperature.clamp_(0.01, 0.99)
            for prototypes in (self.prototypes_user_item, self.prototypes_modalities):
                prototypes.copy_(unit_rows(prototypes))
        longest = tiled_length(max(len(pairs.users), len(pairs.items)), user_rows)
        workspace = user_rows.new_empty(longest, len(self.prototypes_user_item))
        shared = (self.temperature, workspace)
        user_item = user_item_loss(
            user_rows, views.rows[0], pairs, self.prototypes_user_item, *shared
        )
        modalities = modality_loss(views, pairs.item_counts, self.prototypes_modalities, *shared)
        divisor = max(len(views.rows) * (len(views.rows) - 1), 1)
        return {"user_item": user_item / 2, "modalities": modalities / divisor}

    def diagnostics(self) -> dict[str, Tensor]:
        """The temperature, detached, as `temperature/cla`."""
        return {"temperature/cla": self.temperature.detach().clone()}
