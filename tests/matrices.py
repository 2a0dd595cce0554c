"""Adjacencies as dense matrices."""

from __future__ import annotations

import torch
from torch import Tensor

from crossalign.graphs import Adjacency


def matrix_of(adjacency: Adjacency, dtype: torch.dtype = torch.float32) -> Tensor:
    """`(n_dst, n_src)`, what each source alone gives."""
    return adjacency(torch.eye(adjacency.n_src, dtype=dtype)).detach()
