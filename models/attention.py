"""Self-attention over all items without a matrix of items by items."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from ..errors import ConfigError

CELLS = 2**25
"""Bound on the attention weights that exist at a time, all heads and sequences together."""


class BlockwiseSelfAttention(nn.Module):
    """Multi-head self-attention, a block of queries at a time; the numbers are exact.

    Equal to `nn.MultiheadAttention(dim, n_heads)` in values, gradients and initialisation
    (Vaswani et al., NIPS 2017, section 3.2.2). The weights of a block are forgotten after use and
    computed again in the backward pass, so memory grows with the number of rows and not with its
    square; time grows with the square.

    Args:
        dim: width of the rows.
        n_heads: heads, which `dim` must be a multiple of.

    Raises:
        ConfigError: `dim` is no multiple of `n_heads`.
    """

    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        if dim % n_heads:
            raise ConfigError(f"dim={dim} must be a multiple of n_heads={n_heads}; change either")
        self.n_heads = n_heads
        self.in_proj = nn.Linear(dim, 3 * dim)
        self.out_proj = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj.weight)
        nn.init.zeros_(self.in_proj.bias)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Attention within each sequence, `(n_sequences, n, dim)` to the same shape."""
        heads = self.in_proj(x).unflatten(-1, (3, self.n_heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        size = max(1, CELLS // max(1, len(x) * self.n_heads * x.shape[1]))
        blocks = [
            checkpoint(scaled_dot_product_attention, part, key, value, use_reentrant=False)
            for part in query.split(size, dim=-2)
        ]
        return self.out_proj(torch.cat(blocks, dim=-2).transpose(1, 2).flatten(2))
