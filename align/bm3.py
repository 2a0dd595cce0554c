"""BM3 as an alignment: predicted content against ids and against itself, without negatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from ..errors import wrong_value
from ..tensors.functional import full_precision, unit_rows
from ..tensors.tables import Table, read_rows
from .base import ALIGNERS, Alignment
from .rows import Pairs, require_width


@ALIGNERS.register("bm3", paper="Zhou et al., BM3, WWW 2023")
class BM3Alignment(Alignment):
    """Cosine of predicted content with the item representation and with the content itself.

    For every modality m, with a predictor `P` shared by all, the distances
    `1 - cos(P m, drop(sg(id)))` and `1 - cos(P m, drop(sg(m)))` (BM3 eq. 10 and 11), means over
    the positive pairs whose item has the modality. `sg` stops the gradient, so the item
    representations are targets and do not move; with `symmetric`, `1 - cos(P id, drop(sg(m)))`
    moves them as well. BM3's user-item terms are its recommendation loss and not part of this.
    Dropout is drawn for the distinct items of the batch from torch's global generator, while
    training.

    Args:
        dim, modalities, feature_dims, missing: the data, as in `Alignment`.
        weight: weight of all terms; try 1e-3 to 1e-1, in collaborative filtering up to 100.
        dropout: share of the entries of the targets that are set to zero; try 0.3 and 0.5.
        symmetric: let the item representation be predicted from as well.
    """

    def __init__(
        self,
        dim: int = 64,
        modalities: Sequence[str] = ("image", "text"),
        feature_dims: Mapping[str, int] | None = None,
        missing: Mapping[str, Tensor] | None = None,
        *,
        weight: float = 0.01,
        dropout: float = 0.3,
        symmetric: bool = False,
    ) -> None:
        super().__init__(dim, modalities, feature_dims, missing)
        if not 0 <= dropout < 1:
            raise wrong_value("dropout of BM3's targets", dropout, "a number from 0 to below 1")
        self.predictor = linear(dim, dim)
        self.weight = weight
        self.dropout = dropout
        self.symmetric = symmetric

    @full_precision
    def terms(
        self,
        user: Tensor,
        item: Tensor,
        modalities: Mapping[str, Table],
        users: Tensor,
        items: Tensor,
    ) -> dict[str, Tensor]:
        """Weighted `<m>_item` and `<m>_<m>`, and `item_<m>` if symmetric, for each modality m."""
        pairs = Pairs.of(users, items)
        ids = read_rows(item, pairs.items)
        require_width(self.dim, items=ids)
        id_target = self.target("id", ids, pairs.items)
        id_online = unit_rows(self.predictor(ids)) if self.symmetric else None
        terms: dict[str, Tensor] = {}
        tables = zip(self.modalities, self.content(modalities), self.missing_masks(), strict=True)
        for name, table, mask in tables:
            absent = None if mask is None else mask[pairs.items]
            weights = pair_shares(pairs, absent, ids.dtype)
            rows = read_rows(table, pairs.items, absent)
            online = unit_rows(self.predictor(rows))
            target = self.target(name, rows, pairs.items)
            terms[f"{name}_item"] = self.weight * distance(online, id_target, weights)
            terms[f"{name}_{name}"] = self.weight * distance(online, target, weights)
            if id_online is not None:
                terms[f"item_{name}"] = self.weight * distance(id_online, target, weights)
        return terms

    def target(self, name: str, rows: Tensor, ids: Tensor) -> Tensor:
        """Unit rows of `rows` `(n, dim)` after dropout, without gradient.

        Args:
            name: modality of the rows, or `id`.
            rows: rows of the items `ids`.
            ids: `(n,)` item ids.
        """
        return unit_rows(dropout(rows.detach(), self.dropout, self.training))


def linear(width: int, dim: int) -> nn.Linear:
    """BM3's linear layers: Xavier-normal weight, and torch's random bias.

    The bias of the predictor is not a detail: it is larger than the first embeddings, and with a
    bias of zero the backbone learns more slowly and less (Amazon Baby, 40 epochs: validation
    Recall@20 0.068 in place of 0.076).
    """
    layer = nn.Linear(width, dim)
    nn.init.xavier_normal_(layer.weight)
    return layer


def pair_shares(pairs: Pairs, absent: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Share of each distinct item in the pairs, `(n_distinct_items,)`, zero where `absent`.

    They sum to one, or are all zero when no item is present.
    """
    counts = pairs.item_counts.to(dtype)
    if absent is not None:
        counts = counts.masked_fill(absent, 0.0)
    return counts / counts.sum().clamp_min(1.0)


def distance(online: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of `1 - cos` of unit rows `(n, dim)`; `weights` `(n,)` are constants."""
    return weights @ (1.0 - (online * target).sum(1))
