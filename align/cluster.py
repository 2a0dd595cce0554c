"""Cluster-level alignment (CLA): views of one thing shall agree on its soft cluster."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError, require_positive_temperature, wrong_value
from ..tensors.functional import full_precision, unit_rows
from ..tensors.products import tiled_length
from ..tensors.tables import Table, Tables, read_rows
from .base import Alignment
from .codes import Codes, ViewLoss, fit_centroids, kmeans_view, sinkhorn_view
from .policies import known
from .rows import ItemViews, Missing, Pairs, missing_masks, require_width

CHUNK = 65536
"""Rows that are read at a time for k-means."""


def user_item_loss(
    user_rows: Tensor,
    item_rows: Tensor,
    pairs: Pairs,
    view_loss: ViewLoss,
) -> Tensor:
    """Swapped prediction between the two ends of every pair (FETTLE eq. 9), mean over pairs.

    Args:
        user_rows: `(n_distinct_users, dim)` unit rows.
        item_rows: `(n_distinct_items, dim)` unit rows.
        pairs: the batch.
        view_loss: share of one view, with the codes of this codebook.
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
        total = total + view_loss(rows, counts, partners, counts * share)
    return total


def modality_loss(views: ItemViews, item_counts: Tensor, view_loss: ViewLoss) -> Tensor:
    """Swapped prediction between every ordered pair of modalities (FETTLE eq. 8).

    Each ordered term is a mean over the pairs of the batch whose item has both modalities; items
    that lack a modality take no part in the Sinkhorn balance of that modality.

    Args:
        views: the distinct items in every modality.
        item_counts: `(n,)` pairs of each item.
        view_loss: share of one view, with the codes of this codebook.
    """
    counts = item_counts.to(views.rows[0].dtype)
    total = counts.new_zeros(())
    for m, rows in enumerate(views.rows):
        partners, weights = torch.zeros_like(rows), torch.zeros_like(counts)
        for n, other_rows in enumerate(views.rows):
            if n != m:
                share = _pair_share(counts, views.present, m, n)
                partners = torch.addcmul(partners, other_rows, share.unsqueeze(1))
                weights = weights + share
        balanced = counts
        if views.present is not None:
            there = views.present[m]
            # Where nothing is there all weights are 0, and any balance will do that is finite.
            balanced = counts * (there | ~there.any())
        total = total + view_loss(rows, balanced, partners, weights)
    return total


def _pair_share(counts: Tensor, present: Tensor | None, m: int, n: int) -> Tensor:
    """Weight of each item in the mean over pairs whose item has both modalities."""
    both = counts if present is None else counts * (present[m] & present[n])
    return both / both.sum().clamp_min(1)


class CLALoss(nn.Module):
    """Cluster-level alignment, `L_UI / 2 + L_modalities / (|M| (|M| - 1))`.

    FETTLE (SIGIR 2024) eq. 7-9. Two codebooks of prototypes: one makes the user and the item of a
    pair agree on a cluster, the other the modalities of an item: from each view, the softmax over
    the prototypes shall predict the code of the other view. Codes are constants, of two kinds.

    `sinkhorn`: soft codes of the batch's rows over the prototypes, balanced in three rounds.

    `kmeans`: before each epoch `fit_codes` clusters all rows of a codebook's tables together,
    starting from its prototypes, so that the k-th centroid belongs to the k-th prototype. The code
    of a row, by what the row is now, is one-hot at its nearest centroid, or with `code_temperature`
    a softmax of its cosines with all centroids, as soft as that says. Centroids are constants of
    the epoch and are not saved; prototypes are learnt from the predictions, as before.

    Call it as published: `cla(user, item, *content, users, items)`.

    Args:
        K: number of prototypes of each codebook.
        D: width of all tables.
        gamma: initial temperature; it is learnt and kept in [0.01, 0.99].
        modalities: names of the content tables; only a mapping of missing rows needs them.
        K_user_item: prototypes of the user-item codebook, if not K as well.
        codes: kind of codes, `sinkhorn` or `kmeans`.
        code_temperature: of the softmax of `kmeans` codes; 0 takes the nearest centroid alone.
        learn_temperature: False keeps the temperature constant, as the paper says.

    Attributes:
        prototypes_user_item: `(K_user_item, D)`, rows normalised in place at every call.
        prototypes_modalities: `(K, D)`, likewise.
        temperature: scalar parameter.
        centroids_user_item: `(K_user_item, D)` unit rows, or None before `fit_codes`.
        centroids_modalities: `(K, D)`, likewise.
    """

    centroids_user_item: Tensor | None
    centroids_modalities: Tensor | None

    def __init__(
        self,
        K: int = 10240,
        D: int = 64,
        gamma: float = 0.2,
        modalities: Sequence[str] = ("image", "text"),
        *,
        K_user_item: int | None = None,
        codes: Codes = "sinkhorn",
        code_temperature: float = 0.0,
        learn_temperature: bool = True,
    ) -> None:
        super().__init__()
        self.modalities = tuple(modalities)
        self.codes = known(codes, Codes, "codes")
        if code_temperature < 0 or (code_temperature > 0 and codes != "kmeans"):
            raise ConfigError(
                f"code_temperature is {code_temperature} with codes '{codes}': choose a positive "
                "number with codes 'kmeans', or 0 for the nearest centroid alone"
            )
        smallest = K if K_user_item is None else min(K, K_user_item)
        if smallest < 1:
            raise wrong_value("number of prototypes", smallest, "at least 1")
        require_positive_temperature("cluster-level alignment", gamma)
        self.dim = D
        self.code_temperature = code_temperature
        user_item = torch.empty(K if K_user_item is None else K_user_item, D)
        self.prototypes_user_item = nn.Parameter(nn.init.xavier_uniform_(user_item))
        self.prototypes_modalities = nn.Parameter(nn.init.xavier_uniform_(torch.empty(K, D)))
        self.temperature = nn.Parameter(torch.tensor(float(gamma)), learn_temperature)
        self.register_buffer("centroids_user_item", None, persistent=False)
        self.register_buffer("centroids_modalities", None, persistent=False)

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

        Raises:
            ConfigError: codes are `kmeans` and `fit_codes` was not called.
        """
        *content, users, items = tables
        pairs = Pairs.of(users, items)
        masks = missing_masks(missing, self.modalities, len(content))
        views = ItemViews.gather(item, content, pairs.items, masks)
        return self.on_rows(unit_rows(read_rows(user, pairs.users)), views, pairs)

    def on_rows(self, user_rows: Tensor, views: ItemViews, pairs: Pairs) -> dict[str, Tensor]:
        """The loss on rows that are gathered and normalised already."""
        require_width(self.dim, users=user_rows, items=views.rows[0])
        with torch.no_grad():
            if self.temperature.requires_grad:
                self.temperature.clamp_(0.01, 0.99)
            for prototypes in (self.prototypes_user_item, self.prototypes_modalities):
                prototypes.copy_(unit_rows(prototypes))
        longest = tiled_length(max(len(pairs.users), len(pairs.items)), user_rows)
        of_users, of_modalities = self._view_losses(longest)
        user_item = user_item_loss(user_rows, views.rows[0], pairs, of_users)
        modalities = modality_loss(views, pairs.item_counts, of_modalities)
        divisor = max(len(views.rows) * (len(views.rows) - 1), 1)
        return {"user_item": user_item / 2, "modalities": modalities / divisor}

    def _view_losses(self, longest: int) -> list[ViewLoss]:
        """View losses of the user-item and the modality codebook, for tables up to `longest`."""
        codebooks = (self.prototypes_user_item, self.prototypes_modalities)
        if self.codes == "sinkhorn":
            workspace = codebooks[0].new_empty(longest * max(map(len, codebooks)))
            shared = functools.partial(
                sinkhorn_view, temperature=self.temperature, workspace=workspace
            )
            return [functools.partial(shared, prototypes=prototypes) for prototypes in codebooks]
        # A copy, because the next call's clamp must not touch what this call's graph has saved.
        shared = functools.partial(
            kmeans_view, temperature=self.temperature.clone(), softness=self.code_temperature
        )
        losses: list[ViewLoss] = []
        fitted = (self.centroids_user_item, self.centroids_modalities)
        for prototypes, centroids in zip(codebooks, fitted, strict=True):
            if centroids is None:
                raise ConfigError(
                    "codes 'kmeans' need centroids: call CLALoss.fit_codes, or the alignment's "
                    "begin_epoch, before each epoch"
                )
            losses.append(functools.partial(shared, prototypes=prototypes, centroids=centroids))
        return losses

    @full_precision
    def fit_codes(
        self,
        user: Tensor,
        item: Tensor,
        content: Sequence[Table],
        rng: torch.Generator,
        missing: Missing = None,
    ) -> None:
        """Find the centroids of `kmeans` codes anew, from all rows; `sinkhorn` needs none.

        Args:
            user: `(n_users, D)`.
            item: `(n_items, D)`.
            content: `(n_items, D)` content tables.
            rng: generator on the CPU, for the seed of k-means.
            missing: masks of items that lack a modality, left out, by name or in order.
        """
        if self.codes != "kmeans":
            return
        every_user, every_item = (torch.arange(len(t), device=t.device) for t in (user, item))
        both = (*all_rows(user, every_user), *all_rows(item, every_item))
        self.centroids_user_item = fit_centroids(both, self.prototypes_user_item, rng)
        masks = (None, *missing_masks(missing, self.modalities, len(content)))
        rows = (
            part
            for table, absent in zip((item, *content), masks, strict=True)
            for part in all_rows(table, every_item if absent is None else every_item[~absent])
        )
        self.centroids_modalities = fit_centroids(rows, self.prototypes_modalities, rng)

    def diagnostics(self) -> dict[str, Tensor]:
        """The temperature, detached, as `temperature/cla`."""
        return {"temperature/cla": self.temperature.detach().clone()}


@torch.no_grad()
def all_rows(table: Table, ids: Tensor) -> Iterator[Tensor]:
    """Unit rows `ids` of a table, chunk by chunk."""
    for chunk in ids.split(CHUNK):
        yield unit_rows(read_rows(table, chunk))


def refit_codes(
    cla: CLALoss, alignment: Alignment, rng: torch.Generator, tables: Callable[[], Tables]
) -> None:
    """Let `cla`, a part of `alignment`, find the centroids of its codes if it has any."""
    if cla.codes == "kmeans":
        user, item, modalities = tables()
        content = alignment.content(modalities)
        cla.fit_codes(user, item, content, rng, alignment.missing_masks())
