"""Attention among the entries of a row, every entry a token of width one."""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout as drop
from torch.utils.checkpoint import checkpoint

from ..tensors.functional import widened

CELLS = 2**21
"""Attention weights that exist at a time: a block of rows that stays in the cache."""


Attention = Literal["self+cross", "self", "cross", "off"]
"""Which of the attentions of `ContentAttention` there are."""


class ScalarAttention(nn.Module):
    """`out_a = wo sum_b p_ab (wv x_b + bv) + bo`, with `p = softmax_b((wq q_a + bq)(wk x_b + bk))`.

    `nn.MultiheadAttention(1, 1)` in values, gradients and initialisation. A row of width d has
    d x d weights: rows are taken a block at a time, and weights are computed again in the backward
    pass.

    Args:
        dropout: share of the weights p set to zero while training; 1 is all of them.
    """

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.in_proj_weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(3, 1)))
        self.in_proj_bias = nn.Parameter(torch.zeros(3))
        self.out_proj = nn.Linear(1, 1)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """What every entry of `query` `(n, d)` hears of the entries of `x` `(n, d)`, `(n, d)`.

        Args:
            query: rows whose entries ask.
            x: rows whose entries answer.
            keep: `(n, d, d)` bool, weights that dropout leaves; drawn if None.
        """
        size = max(1, CELLS // x.shape[1] ** 2)
        masks = [None] * -(-len(x) // size) if keep is None else keep.split(size)
        blocks = [
            checkpoint(self._block, *block, use_reentrant=False)
            for block in zip(query.split(size), x.split(size), masks, strict=True)
        ]
        return torch.cat(blocks)

    def _block(self, query: Tensor, x: Tensor, keep: Tensor | None) -> Tensor:
        of_query, of_key, of_value = zip(
            self.in_proj_weight.unbind(0), self.in_proj_bias.unbind(0), strict=True
        )
        asked, key, value = (
            weight * rows + bias
            for rows, (weight, bias) in ((query, of_query), (x, of_key), (x, of_value))
        )
        weights = (asked.unsqueeze(2) * key.unsqueeze(1)).softmax(dim=2)
        if self.training and self.dropout > 0:
            if keep is None:
                weights = drop(weights, self.dropout)
            else:
                weights = weights * keep / (1 - self.dropout)
        heard = torch.bmm(weights, value.unsqueeze(2)).squeeze(2)
        return self.out_proj.weight[0, 0] * heard + self.out_proj.bias


class ContentAttention(nn.Module):
    """Each modality hears itself, then the others: `v <- prelu(norm(v + heard))`, twice.

    Where a row is all zero, there is no such content, and it stays zero.

    Args:
        names: of the modalities.
        dim: width of the rows.
        kinds: which attentions there are; what follows each is there in any case.
        self_dropout: of the attention within a modality.
        cross_dropout: of the attention across modalities.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        dim: int,
        kinds: Attention,
        self_dropout: float,
        cross_dropout: float,
    ) -> None:
        super().__init__()
        self.slope, self.norm = nn.PReLU(), nn.LayerNorm(dim)
        self.within = nn.ModuleDict(
            {name: ScalarAttention(self_dropout) for name in names if "self" in kinds}
        )
        self.across = nn.ModuleDict(
            {
                name: nn.ModuleDict(
                    {other: ScalarAttention(cross_dropout) for other in names if other != name}
                )
                for name in names
                if "cross" in kinds and len(names) > 1
            }
        )
        self.names = names

    def forward(self, contents: list[Tensor]) -> list[Tensor]:
        """Content of each modality, `(n, d)`."""
        given = dict(zip(self.names, contents, strict=True))
        first = {}
        for name, rows in given.items():
            heard = rows + self.within[name](rows, rows) if self.within else rows
            first[name] = self._activated(heard)
        return [
            self._activated(self._with_others(name, first)) * given[name].any(dim=1, keepdim=True)
            for name in self.names
        ]

    def _activated(self, rows: Tensor) -> Tensor:
        return self.slope(widened(self.norm(rows)))

    def _with_others(self, name: str, contents: dict[str, Tensor]) -> Tensor:
        """Content of one modality plus the mean of what the others ask it."""
        rows = contents[name]
        if not self.across:
            return rows
        across = cast(nn.ModuleDict, self.across[name])
        heard = [ask(contents[other], rows) for other, ask in across.items()]
        return rows + torch.stack(heard).mean(dim=0)
