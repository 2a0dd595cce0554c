"""The stage after the model: evidence of a user's items, added to the scores of candidates.

    final(u, i) = s(u, i) + weight * sd_u * z(u, i)

`s` are the model's scores and `sd_u` is their standard deviation over the catalogue, so that a
weight means the same for every backbone. `z` is the evidence of the items that the user has,
standardised over the catalogue. It is added for the candidates, the items of the highest `s` that
the user has not. Nothing larger than a block of users by items is held.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..evaluation.scores import BlockScorer
from ..tensors.later import sp

T = TypeVar("T")


class LastBlock(Generic[T]):
    """What was computed for the last block of users: scorers that differ in their weight alone
    ask for the same one after the other.

    Args:
        compute: from user ids `(n,)`.
    """

    def __init__(self, compute: Callable[[Tensor], T]) -> None:
        self._compute = compute
        self._last: tuple[Tensor, T] | None = None

    def __call__(self, users: Tensor) -> T:
        """The result for `users`."""
        if self._last is None or not torch.equal(self._last[0], users):
            self._last = (users, self._compute(users))
        return self._last[1]


@dataclass(frozen=True)
class Block:
    """The model's scores of some users.

    Attributes:
        scores: `(n, n_items)`.
        spread: `(n, 1)` standard deviation over the catalogue.
        candidates: `(n, n_items)` bool.
    """

    scores: Tensor
    spread: Tensor
    candidates: Tensor


class Candidates:
    """Scores of a model, block by block, and which items evidence is added to.

    Args:
        model: scores of the model.
        history: `(n_users, n_items)`, the training items of users, which are no candidates.
        n_candidates: items of the highest scores; all that tie with the last are among them.
    """

    def __init__(self, model: BlockScorer, history: sp.csr_matrix, n_candidates: int) -> None:
        self.model, self.history, self.n_candidates = model, history, n_candidates

    def __call__(self, users: Tensor) -> Block:
        """Of the users `(n,)`, ids on the CPU."""
        model = self.model
        scores = torch.empty(len(users), model.n_items, dtype=model.dtype, device=model.device)
        model(users, scores)
        known = _places(self.history[users.numpy()]).to(model.device)
        left = scores.clone()
        left.view(-1)[known] = -torch.inf
        candidates = left >= kth_largest(left, min(self.n_candidates, model.n_items))
        candidates.view(-1)[known] = False
        return Block(scores, spread_of_rows(scores - scores.mean(1, keepdim=True)), candidates)


class HistoryEvidence:
    """Evidence of the items users have, standardised over the catalogue.

    Args:
        history: `(n_users, n_items)`.
        lists: `(n_items, n_items)` each; row j is what item j of a history says for every item.
            Several are standardised one by one, and their sum is once more.
    """

    def __init__(self, history: sp.csr_matrix, lists: Sequence[sp.csr_matrix]) -> None:
        self.history, self.lists = history, lists

    def __call__(self, users: Tensor) -> Tensor:
        """`(n, n_items)` float32; zeros for users of whose items nothing is known."""
        rows = self.history[users.numpy()]
        parts = [standardised(torch.from_numpy((rows @ own).toarray())) for own in self.lists]
        return parts[0] if len(parts) == 1 else standardised(torch.stack(parts).sum(0))


class EvidenceScorer:
    """Final scores, as `Evaluator` and `recommend` take them.

    Args:
        model: scores of the model alone, whose shape, type and device these have.
        block: the same for a block of users, with the candidates: a `Candidates`.
        evidence: standardised, for a block of users: a `HistoryEvidence`.
        weight: of the evidence, in standard deviations of the model's scores; 0 is the model.
    """

    def __init__(
        self,
        model: BlockScorer,
        block: Callable[[Tensor], Block],
        evidence: Callable[[Tensor], Tensor],
        weight: float,
    ) -> None:
        self.n_users, self.n_items = model.n_users, model.n_items
        self.dtype, self.device = model.dtype, model.device
        self.block, self.evidence, self.weight = block, evidence, weight

    def __call__(self, users: Tensor, out: Tensor) -> None:
        """Write the scores of `users` into `out`."""
        block = self.block(users)
        out.copy_(block.scores)
        if self.weight:
            scale = block.candidates * (self.weight * block.spread)
            out.addcmul_(self.evidence(users).to(out), scale)


def standardised(values: Tensor) -> Tensor:
    """Rows less their mean, in their standard deviation; rows of equal numbers become zeros."""
    mean = values.mean(1, keepdim=True)
    centred = values - mean
    spread = spread_of_rows(centred)
    even = spread <= 2 * torch.finfo(values.dtype).eps * mean.abs()
    return centred.div_(spread.masked_fill(even, torch.inf))


def spread_of_rows(centred: Tensor) -> Tensor:
    """`(n, 1)` standard deviations of rows whose mean is zero; several times faster than `std`."""
    return torch.linalg.vector_norm(centred, dim=1, keepdim=True) / math.sqrt(centred.shape[1])


def kth_largest(values: Tensor, k: int) -> Tensor:
    """`(n, 1)`; NumPy's selection is several times faster than torch's on a processor."""
    if values.device.type != "cpu":
        return values.topk(k, dim=1).values[:, -1:]
    place = values.shape[1] - k
    return torch.from_numpy(np.partition(values.numpy(), place, axis=1)[:, place : place + 1])


def _places(rows: sp.csr_matrix) -> Tensor:
    """Flat positions of the entries of `(n, n_items)` rows."""
    row = np.repeat(np.arange(rows.shape[0], dtype=np.int64), np.diff(rows.indptr))
    return torch.from_numpy(row * rows.shape[1] + rows.indices)
