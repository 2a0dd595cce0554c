"""Cluster-level alignment (CLA): views of one thing shall agree on its soft cluster."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..errors import ConfigError, require_positive_temperature, wrong_value
from ..tensors.functional import full_precision, unit_rows
from ..tensors.products import tiled_length
from ..tensors.tables import Table, Tables, read_rows
from .base import ALIGNERS, Alignment, shared
from .batch import Batch, Missing, Views, masks_by_name
from .checks import require_fit
from .codes import Clusters, Codes, ViewLoss, fit_centroids, kmeans_view, sinkhorn_view
from .loss import LearntTemperature, Loss
from .rules import known

CHUNK = 65536
"""Rows that are read at a time for k-means."""


def user_item_loss(batch: Batch, view_loss: ViewLoss) -> Tensor:
    """Swapped prediction between the two ends of every pair (FETTLE eq. 9), mean over pairs.

    Args:
        batch: the pairs.
        view_loss: share of one view, with the codes of this codebook.
    """
    share = 1.0 / max(len(batch), 1)
    users, items = (batch.user_rows, batch.users), (batch.views.rows[0], batch.items)
    total = batch.user_rows.new_zeros(())
    for (rows, ids), (other_rows, other_ids) in ((users, items), (items, users)):
        others = other_rows.index_select(0, other_ids.of)
        partners = torch.zeros_like(rows).index_add(0, ids.of, others) * share
        counts = ids.counts.to(rows.dtype)
        total = total + view_loss(rows, counts, partners, counts * share)
    return total


def modality_loss(views: Views, item_counts: Tensor, view_loss: ViewLoss) -> Tensor:
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


@dataclass(kw_only=True, eq=False, repr=False)
class CodeOptions:
    """What the codes of cluster-level alignment are.

    Args:
        codes: cluster codes: sinkhorn balances the batch, kmeans clusters before each epoch.
        code_temperature: of the softmax of kmeans codes; 0 takes the nearest centroid alone.
    """

    codes: Codes = "sinkhorn"
    code_temperature: float = 0.0


@dataclass(kw_only=True, eq=False, repr=False)
class ClusterOptions(CodeOptions):
    """Codebooks and codes of an alignment at cluster level.

    Args:
        n_prototypes: rows of each of the two codebooks; the paper uses 10240 and more.
        n_prototypes_user_item: rows of the codebook of users and items, if not n_prototypes too.
    """

    n_prototypes: int = 256
    n_prototypes_user_item: int | None = None

    def make_loss(
        self, dim: int, temperature: float, modalities: Sequence[str], learn_temperature: bool
    ) -> CLALoss:
        """The loss with these codebooks and codes; arguments as there."""
        return CLALoss(
            self.n_prototypes,
            dim,
            temperature,
            modalities,
            K_user_item=self.n_prototypes_user_item,
            learn_temperature=learn_temperature,
            **shared(self, CodeOptions),
        )


@dataclass(eq=False, repr=False)
class CLALoss(Loss, CodeOptions, LearntTemperature):
    """Cluster-level alignment, terms `cla_user_item` and `cla_modalities`.

    `L_UI / 2` and `L_modalities / (|M| (|M| - 1))`, with `|M|` modalities, `id` included.

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
        K_user_item: prototypes of the user-item codebook, if not K as well.

    Attributes:
        prototypes_user_item: `(K_user_item, D)`, rows normalised in place at every call.
        prototypes_modalities: `(K, D)`, likewise.
        temperature: scalar parameter.
        centroids_user_item: `(K_user_item, D)` unit rows, or None before `fit_codes`.
        centroids_modalities: `(K, D)`, likewise.
    """

    any_content: ClassVar[bool] = True

    K: int = 10240
    D: int = 64
    gamma: float = 0.2
    modalities: Sequence[str] = ("image", "text")
    K_user_item: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        self.modalities = tuple(self.modalities)
        known(self.codes, Codes, "codes")
        if self.code_temperature < 0 or (self.code_temperature > 0 and self.codes != "kmeans"):
            raise ConfigError(
                f"code_temperature is {self.code_temperature} with codes '{self.codes}': choose a "
                "positive number with codes 'kmeans', or 0 for the nearest centroid alone"
            )
        n_user_item = self.K if self.K_user_item is None else self.K_user_item
        if min(self.K, n_user_item) < 1:
            raise wrong_value("number of prototypes", min(self.K, n_user_item), "at least 1")
        require_positive_temperature("cluster-level alignment", self.gamma)
        user_item, modalities = (torch.empty(n, self.D) for n in (n_user_item, self.K))
        self.prototypes_user_item = nn.Parameter(nn.init.xavier_uniform_(user_item))
        self.prototypes_modalities = nn.Parameter(nn.init.xavier_uniform_(modalities))
        initial = torch.tensor(float(self.gamma))
        self.temperature = nn.Parameter(initial, self.learn_temperature)
        self.register_buffer("centroids_user_item", None, persistent=False)
        self.register_buffer("centroids_modalities", None, persistent=False)

    def on(self, batch: Batch) -> dict[str, Tensor]:
        """The two scaled parts of the loss, `cla_user_item` and `cla_modalities`.

        Raises:
            ConfigError: codes are `kmeans` and `fit_codes` was not called.
        """
        user_rows, views = batch.user_rows, batch.views
        require_fit(self.D, self.prototypes_modalities, users=user_rows, items=views.rows[0])
        with torch.no_grad():
            if self.temperature.requires_grad:
                self.temperature.clamp_(0.01, 0.99)
            for prototypes in (self.prototypes_user_item, self.prototypes_modalities):
                prototypes.copy_(unit_rows(prototypes))
        longest = tiled_length(max(len(user_rows), len(views.rows[0])), user_rows)
        of_users, of_modalities = self._view_losses(longest)
        user_item = user_item_loss(batch, of_users)
        modalities = modality_loss(views, batch.items.counts, of_modalities)
        divisor = max(len(views.rows) * (len(views.rows) - 1), 1)
        return {"cla_user_item": user_item / 2, "cla_modalities": modalities / divisor}

    def begin_epoch(
        self, rng: torch.Generator, tables: Callable[[], Tables], missing: Missing = None
    ) -> None:
        """Find the centroids of k-means codes anew."""
        if self.codes == "kmeans":
            user, item, modalities = tables()
            self.fit_codes(user, item, list(modalities.values()), rng, missing)

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
        shared = functools.partial(kmeans_view, temperature=self.temperature.clone())
        losses: list[ViewLoss] = []
        fitted = (self.centroids_user_item, self.centroids_modalities)
        for prototypes, centroids in zip(codebooks, fitted, strict=True):
            if centroids is None:
                raise ConfigError(
                    "codes 'kmeans' need centroids: call CLALoss.fit_codes, or the alignment's "
                    "begin_epoch, before each epoch"
                )
            clusters = Clusters(centroids, self.code_temperature)
            losses.append(functools.partial(shared, prototypes=prototypes, clusters=clusters))
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
        names = self.modalities[: len(content)]
        by_name = masks_by_name(missing, names, len(names))
        masks = (None, *(by_name.get(name) for name in names))
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


@ALIGNERS.register("cla", paper="FETTLE, SIGIR 2024, eq. 7-9")
@dataclass(kw_only=True, eq=False, repr=False)
class ClusterAlignment(Alignment, ClusterOptions, LearntTemperature):
    """Cluster-level alignment of users with items, and of the modalities; see `CLALoss`.

    Args:
        weight: weight of both parts; try 1e-5 to 1e-1.
        temperature: initial temperature, 0.1 to 0.5; learnt.
    """

    weight: float = 0.001
    temperature: float = 0.2

    def __post_init__(self, *data: Any) -> None:
        super().__post_init__(*data)
        learnt = self.learn_temperature
        self.cla = self.make_loss(self.dim, self.temperature, self.modalities, learnt)
        self.weigh("cla", self.weight)
