"""Recursive cross-modal attention of CRANE, for tables of items or users.

CRANE (arXiv 2601.11151, TOMM 2026) follows the recursive joint cross-attention of Praveen et al.
(arXiv 2304.07958), whose weights work on the rows of a sequence. For a table of items that would
be a weight for each pair of items; here all weights are in feature space.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, linear

RCA = Literal["global", "token"]
Scale = Literal["sqrt_n", "n"]
Correlations = list[Tensor]
"""One of each modality: `(dim, dim)` of a table, or `(n, 1)` of its rows"""


class Attended(NamedTuple):
    """What the recursion makes of the modalities' tables."""

    content: Tensor
    """`(n, dim)`, all modalities in one"""
    correlations: list[Correlations]
    """those of each round, for use on other tables"""


class RecursiveAttention(nn.Module):
    """R rounds in which every modality attends to the joint of all, then one linear map.

    `F = [X_1^R ; X_2^R ; ...] W_F`; without rounds this is a concatenation and a linear map. As
    the last map of each round starts at zero, so do all rounds: they begin as the identity.

    Args:
        n_modalities: number of tables.
        dim: width of the tables and of the result.
        n_recursions: rounds R.
        tied: whether all rounds share their weights.
        rca: `global` correlates the features of the whole table, `token` each row by itself.
        scale: divisor of global correlations; see `GlobalUpdate`.
        n_rows: rows of a usual table; see `GlobalUpdate`.
    """

    def __init__(
        self,
        n_modalities: int,
        dim: int,
        *,
        n_recursions: int,
        tied: bool,
        rca: RCA,
        scale: Scale,
        n_rows: int,
    ) -> None:
        super().__init__()
        self.n_recursions = n_recursions
        self.rounds = nn.ModuleList()
        for _ in range(min(n_recursions, 1) if tied else n_recursions):
            updates = [
                TokenUpdate(dim) if rca == "token" else GlobalUpdate(dim, scale, n_rows)
                for _ in range(n_modalities)
            ]
            self.rounds.append(AttentionRound(dim, updates))
        self.fusion = nn.Linear(n_modalities * dim, dim, bias=False)

    def forward(
        self,
        tables: Sequence[Tensor],
        *,
        correlations: list[Correlations] | None = None,
        dropout: float = 0.0,
    ) -> Attended:
        """Attend R times and fuse.

        Args:
            tables: one of each modality, `(n, dim)`.
            correlations: of each round, in place of those of these tables.
            dropout: share of the attended features set to zero.
        """
        used = []
        for step in range(self.n_recursions):
            attention = self.rounds[step % len(self.rounds)]
            given = None if correlations is None else correlations[step]
            tables, found = attention(tables, given, dropout)
            used.append(found)
        return Attended(self.fusion(torch.cat(tuple(tables), dim=1)), used)


class AttentionRound(nn.Module):
    """One round: `J = [X_1 ; X_2 ; ...] W_J + b_J`, and an update of every modality by J.

    Args:
        dim: width of the tables.
        updates: one of each modality.
    """

    def __init__(self, dim: int, updates: Sequence[GlobalUpdate | TokenUpdate]) -> None:
        super().__init__()
        self.joint = nn.Linear(len(updates) * dim, dim)
        self.updates = nn.ModuleList(updates)

    def forward(
        self, tables: Sequence[Tensor], correlations: Correlations | None, dropout: float
    ) -> tuple[list[Tensor], Correlations]:
        """The tables after this round, and the correlations it used."""
        joint = self.joint(torch.cat(tuple(tables), dim=1))
        moved, used = [], []
        for place, (update, x) in enumerate(zip(self.updates, tables, strict=True)):
            given = None if correlations is None else correlations[place]
            change, found = update(x, joint, given, dropout)
            moved.append(x + change)
            used.append(found)
        return moved, used


class _Update(nn.Module):
    """`A_m W_out` with `A_m = ReLU(X_m W_own + attended W_attend)`; `W_out` starts at zero."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.correlate = nn.Linear(dim, dim, bias=False)
        self.own = nn.Linear(dim, dim, bias=False)
        self.attend = nn.Linear(dim, dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(
        self, x: Tensor, joint: Tensor, correlation: Tensor | None, p: float
    ) -> tuple[Tensor, Tensor]:
        """What to add to the modality, `(n, dim)`, and the correlation that was used.

        Args:
            x: `(n, dim)`, the modality.
            joint: `(n, dim)`, the joint of all.
            correlation: of another table, or None to take that of `x` and `joint`.
            p: share of the attended features set to zero.
        """
        if correlation is None:
            correlation = self.correlation(x, joint)
        attended = (self.own(x) + self.attended(joint, correlation)).relu()
        return self.out(dropout(attended, p, training=p > 0)), correlation

    def correlation(self, x: Tensor, joint: Tensor) -> Tensor:
        """How the modality goes with the joint."""
        raise NotImplementedError

    def attended(self, joint: Tensor, correlation: Tensor) -> Tensor:
        """The joint seen through the correlation and `W_attend`, `(n, dim)`."""
        raise NotImplementedError


class GlobalUpdate(_Update):
    """Attention through `C_m = tanh((X_m W)^T J / (sqrt(dim) s))`, features against features.

    All rows take part in C, so a change of one row moves every row. The divisor s is the root of
    the number of rows, which keeps tanh in its useful range for rows of length one. With
    `scale="n"` it is their number, C the tanh of a covariance, and small; a positive factor is
    then learned, which starts where both scales agree for `n_rows` rows.

    Args:
        dim: width of the tables.
        scale: `sqrt_n` or `n`.
        n_rows: see above.
    """

    def __init__(self, dim: int, scale: Scale, n_rows: int) -> None:
        super().__init__(dim)
        start = torch.tensor(math.log(n_rows) / 2)
        self.log_gain = nn.Parameter(start) if scale == "n" else None

    def correlation(self, x: Tensor, joint: Tensor) -> Tensor:
        """`(dim, dim)`, features of the modality by features of the joint."""
        # (X W)^T J as W^T (X^T J): one product over the rows instead of two.
        products = self.correlate.weight @ (x.T @ joint) / math.sqrt(x.shape[1])
        if self.log_gain is None:
            return (products / math.sqrt(len(x))).tanh()
        return (products * self.log_gain.exp() / len(x)).tanh()

    def attended(self, joint: Tensor, correlation: Tensor) -> Tensor:
        """`J C^T W_attend`."""
        return linear(joint, self.attend.weight @ correlation)


class TokenUpdate(_Update):
    """Attention of each row by itself, `a_m = tanh(<x_m W, j> / sqrt(dim))`.

    Rows do not see each other, so a change of the catalogue leaves the other items' as they are.

    Args:
        dim: width of the tables.
    """

    def correlation(self, x: Tensor, joint: Tensor) -> Tensor:
        """`(n, 1)`, one number per row."""
        products = (self.correlate(x) * joint).sum(dim=1, keepdim=True)
        return (products / math.sqrt(x.shape[1])).tanh()

    def attended(self, joint: Tensor, correlation: Tensor) -> Tensor:
        """`a_m J W_attend`."""
        return correlation * self.attend(joint)
