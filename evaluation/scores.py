"""Blocks of the (users x items) matrix of scores: where they come from, their size, their cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from ..errors import RunError
from ..tensors.products import product, uses_onednn

if TYPE_CHECKING:
    from ..tensors.representations import Representations

_BLOCK_BYTES = {"cpu": 4 << 20, "cuda": 256 << 20}  # scores of a block: stay in the CPU's cache


def distinct_pairs(pairs: Tensor, n_items: int) -> Tensor:
    """The distinct columns of `(2, n)` user-item pairs, sorted by user, then item."""
    keys = torch.unique(pairs[0].cpu() * n_items + pairs[1].cpu())
    return torch.stack([keys // n_items, keys % n_items])


def in_block(cells: Tensor, first: int, n_rows: int, n_items: int) -> Tensor:
    """The cells in rows `first .. first + n_rows - 1`, as positions in that block."""
    bounds = torch.tensor([first, first + n_rows]) * n_items
    low, high = torch.searchsorted(cells, bounds).tolist()
    return cells[low:high] - first * n_items


class BlockScorer(Protocol):
    """Scores of users for all items, a block of users at a time.

    Representations are one kind (`InnerProducts`); write another for scores that are no inner
    product of two tables.

    Attributes:
        n_users: number of users.
        n_items: number of items.
        dtype: floating type of the scores.
        device: where they are computed.
    """

    n_users: int
    n_items: int
    dtype: torch.dtype
    device: torch.device

    def __call__(self, users: Tensor, out: Tensor) -> None:
        """Write the scores of `users` `(n,)`, ids on the CPU, into `out` `(n, n_items)`; finite."""


class InnerProducts:
    """Scores from representations.

    Args:
        representations: `user (n_users, dim)` and `item (n_items, dim)`, on any device.

    Raises:
        RunError: a representation is not finite, or scores overflow.
    """

    def __init__(self, representations: Representations) -> None:
        self.user, self.item = checked_tables(representations)
        self.n_users, self.n_items = len(self.user), len(self.item)
        self.dtype, self.device = self.user.dtype, self.user.device

    def __call__(self, users: Tensor, out: Tensor) -> None:
        """Write `user[users] item^T` into `out`."""
        rows = self.user[users.to(self.device)]
        if uses_onednn(rows):
            out.copy_(product(rows, self.item.T))
        else:
            torch.mm(rows, self.item.T, out=out)


def block_scorer(scores: Representations | BlockScorer) -> BlockScorer:
    """`scores` themselves, or the inner products of representations."""
    return InnerProducts(scores) if isinstance(scores, tuple) else scores


def default_block(scorer: BlockScorer) -> int:
    """Users per block such that the scores take about `_BLOCK_BYTES`."""
    block_bytes = _BLOCK_BYTES.get(scorer.device.type, _BLOCK_BYTES["cpu"])
    return max(16, block_bytes // (scorer.n_items * scorer.dtype.itemsize))


def checked_tables(representations: Representations) -> tuple[Tensor, Tensor]:
    """The tables, at least float32, after making sure that no score can be NaN or infinite."""
    tables = []
    largest_norm = []
    for name, table in zip(("user", "item"), representations, strict=True):
        wide = table.detach()
        wide = wide.float() if wide.element_size() < 4 else wide
        norms = torch.linalg.vector_norm(wide, dim=1)
        if not bool(torch.isfinite(norms).all()):  # slower; squares of finite numbers overflow less
            norms = torch.linalg.vector_norm(wide, dim=1, dtype=torch.float64)
        if not bool(torch.isfinite(norms).all()):
            row = int((~torch.isfinite(norms)).nonzero()[0])
            raise RunError(
                f"the representation of {name} {row} is not finite: lower the learning rate or the "
                "loss weights"
            )
        tables.append(wide)
        largest_norm.append(float(norms.max()))
    if largest_norm[0] * largest_norm[1] > torch.finfo(tables[0].dtype).max:
        raise RunError(
            f"scores overflow {tables[0].dtype} (largest norms {largest_norm[0]:.3g} and "
            f"{largest_norm[1]:.3g}): lower the learning rate or add weight decay"
        )
    return tables[0], tables[1]
