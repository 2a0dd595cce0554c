"""Dense products in the faster of the two float32 kernels that torch brings along.

On a CPU `@` calls MKL, which uses half the vector width on processors that Intel did not make;
oneDNN uses all of it, about twice the speed. On Intel's own, MKL is up to a quarter faster on one
thread and not on two. So each process times both once, and keeps oneDNN unless it is far behind.
oneDNN compiles a kernel for every new shape, which costs more than a product, so
tables are padded to whole tiles for it and few shapes occur.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable

import torch
from torch import Tensor

TILE = 128
"""Rows of a padded table are a multiple of this."""

CLEARLY = 2.0
"""oneDNN is kept unless it takes so many times the time of MKL. Nearer to 1, other work would
decide from process to process, and a resumed run would not round as before."""


@functools.cache
def onednn_works() -> bool:
    """Whether this build of torch has oneDNN's product, and it computes what `@` computes."""
    if not torch.backends.mkldnn.is_available() or not hasattr(
        torch.ops.mkldnn, "_linear_pointwise"
    ):
        return False
    left = torch.arange(12.0).view(3, 4)
    right = torch.arange(8.0).view(4, 2)
    try:
        return torch.allclose(_onednn_product(left, right), left @ right)
    except RuntimeError:
        return False


@functools.cache
def onednn_is_faster() -> bool:
    """Whether oneDNN works, and MKL is not far faster on this machine.

    Kernels round differently: the environment variable CROSSALIGN_PRODUCTS, `mkl` or `onednn`,
    decides without timing, where runs of several machines shall be equal to the last bit.
    """
    if not onednn_works() or (chosen := os.environ.get("CROSSALIGN_PRODUCTS")) == "mkl":
        return False
    if chosen == "onednn":
        return True
    of_onednn, of_mkl = _seconds(_onednn_product, torch.mm)
    return of_onednn < CLEARLY * of_mkl


def _seconds(*kernels: Callable[[Tensor, Tensor], Tensor]) -> list[float]:
    """The least of several products of the size of a block by each kernel, taken in turn.

    Other work disturbs neither the least of them nor one kernel more than the other.
    """
    left, right = torch.ones(TILE, 64), torch.ones(2048, 64).T
    least = [float("inf")] * len(kernels)
    for _ in range(40):
        for place, kernel in enumerate(kernels):
            start = time.perf_counter()
            kernel(left, right)
            least[place] = min(least[place], time.perf_counter() - start)
    return least


def uses_onednn(x: Tensor) -> bool:
    """Whether products with `x` go to oneDNN."""
    return x.device.type == "cpu" and x.dtype == torch.float32 and onednn_is_faster()


def product(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """`left @ right` of two matrices, plus a bias for every row, without autograd."""
    if uses_onednn(left) and left.numel() and right.numel():
        return _onednn_product(left, right, bias)
    return left @ right if bias is None else torch.addmm(bias, left, right)


def add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """`total += left @ right` in place, without autograd."""
    if uses_onednn(left):
        total += product(left, right)
    else:
        total.addmm_(left, right)


def whole_tiles(rows: Tensor) -> Tensor:
    """`rows` `(n, ...)` with zero rows appended up to whole tiles if oneDNN is used."""
    n, padded_n = len(rows), tiled_length(len(rows), rows)
    if n == padded_n:
        return rows
    padded = rows.new_zeros(padded_n, *rows.shape[1:])
    padded[:n] = rows
    return padded


def tiled_length(n: int, like: Tensor) -> int:
    """Number of rows that `whole_tiles` makes of `n` rows of the device and type of `like`."""
    return n + -n % TILE if uses_onednn(like) else n


def _onednn_product(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(left, right.T, bias, "none", [], "")
