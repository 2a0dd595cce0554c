"""Trainable tables and layers that begin as Glorot and Bengio (AISTATS 2010) advise."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

Layer = TypeVar("Layer", bound=nn.Linear)


def xavier_table(n: int, dim: int, *, normal: bool = False) -> nn.Parameter:
    """A trainable `(n, dim)` table, drawn Xavier-uniform or Xavier-normal."""
    draw = nn.init.xavier_normal_ if normal else nn.init.xavier_uniform_
    return nn.Parameter(draw(torch.empty(n, dim)))


def xavier_linear(layer: Layer) -> Layer:
    """`layer` with Xavier-uniform weight and zero bias, as the papers initialise."""
    nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
