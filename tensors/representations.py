"""What every recommender of the house, trained or not, is scored by."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Representations(NamedTuple):
    """What a recommender says of every user and item; a score is their inner product."""

    user: Tensor
    """`(n_users, dim)`"""
    item: Tensor
    """`(n_items, dim)`"""
