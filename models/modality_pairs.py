"""Terms between every two modalities of a table, on the nodes of a batch that have both."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from ..tensors.functional import contrastive_sum, full_precision, unit_rows, widened


class ModalityPairs:
    """The unordered pairs of modalities of a table `(n, M dim)`, in the order of the modalities.

    Args:
        table: `(n, M dim)`, one modality after the other.
        present: `(n, M)` bool, which modalities each node has.
        dim: width of a modality.
    """

    def __init__(self, table: Tensor, present: Tensor, dim: int) -> None:
        self.table, self.present, self.dim = table, present, dim
        self.pairs = list(combinations(range(present.shape[1]), 2))

    def __len__(self) -> int:
        return len(self.pairs)

    def contrast(self, ids: Tensor, temperature: float) -> Tensor:
        """InfoNCE from the first to the second, with cosines; means over the nodes, summed.

        Args:
            ids: `(n,)` int64, distinct nodes.
            temperature: positive.
        """
        rows, present = self._read(ids)
        return full_precision(_contrasts)(rows, present, self.pairs, temperature)

    def squared_correlation(self, ids: Tensor) -> Tensor:
        """Mean square of `V^T W`, summed over the pairs.

        V are the rows of the first minus their mean, over their length without gradient; W are
        those of the second.

        Args:
            ids: `(n,)` int64; repeated nodes count again.
        """
        rows, present = self._read(ids)
        terms = []
        for first, second in self.pairs:
            there = (present[:, first] & present[:, second]).to(rows).unsqueeze(1)
            one, other = (_centred(rows[:, place], there) for place in (first, second))
            terms.append((one.T @ other).square().mean())
        return torch.stack(terms).sum()

    def _read(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Rows `(n, M, dim)` and which there are, `(n, M)`."""
        rows = widened(self.table.index_select(0, ids)).unflatten(1, (-1, self.dim))
        return rows, self.present.index_select(0, ids)


def _contrasts(
    rows: Tensor, present: Tensor, pairs: list[tuple[int, int]], temperature: float
) -> Tensor:
    order, scale = torch.arange(len(rows), device=rows.device), rows.new_full((), temperature)
    terms = []
    for first, second in pairs:
        there = present[:, first] & present[:, second]
        anchors, candidates = unit_rows(rows[:, first]), unit_rows(rows[:, second])
        total = contrastive_sum(anchors, candidates, order, scale, there.to(rows), allowed=there)
        terms.append(total / there.sum().clamp(min=1))
    return torch.stack(terms).sum()


def _centred(rows: Tensor, there: Tensor) -> Tensor:
    """Rows minus their mean, over their length; zero where not `there` `(n, 1)`."""
    rows = (rows - (rows * there).sum(0) / there.sum().clamp(min=1)) * there
    return rows / (torch.linalg.vector_norm(rows.detach(), dim=1, keepdim=True) + 1e-6)
