"""The least that a piece of work needs, and what this machine does at best."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from timing import seconds

from crossalign.tensors.products import product

FLOAT = 4
"""Bytes of a float32."""
ADAM_TOUCHES = 7
"""Adam reads value, gradient and two moments of a parameter and writes all but the gradient."""


@dataclass(frozen=True)
class Cost:
    """Operations and memory traffic that no way to do the work can go below.

    Traffic counts rows that are gathered as if each came from memory, and products their
    operands not at all. Exponentials are counted where they are many, in the cluster level;
    whatever else there is is left out.
    """

    flops: float = 0.0
    bytes: float = 0.0
    exponentials: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.flops + other.flops,
            self.bytes + other.bytes,
            self.exponentials + other.exponentials,
        )

    def __mul__(self, times: float) -> Cost:
        return Cost(times * self.flops, times * self.bytes, times * self.exponentials)


@dataclass(frozen=True)
class Machine:
    """Rates of this process on this machine, as measured."""

    flops: float
    """a second, in products of matrices"""
    bytes: float
    """a second, read and written, in copies far larger than the caches"""
    exponentials: float = math.inf
    """a second, in the cache; infinite where they were not measured"""

    @classmethod
    def measure(cls) -> Machine:
        """The best of some rounds each."""
        left, right = torch.rand(2048, 512), torch.rand(512, 2048)
        source, target = torch.rand(2**26), torch.empty(2**26)
        product(left, right)
        multiply = min(seconds(lambda: product(left, right)) for _ in range(10))
        copy = min(seconds(lambda: target.copy_(source)) for _ in range(4))
        cached = torch.rand(2**17)
        powers = min(seconds(lambda: [cached.exp2() for _ in range(20)]) for _ in range(5))
        return cls(
            2 * 2048 * 512 * 2048 / multiply,
            2 * FLOAT * source.numel() / copy,
            20 * cached.numel() / powers,
        )

    def limit(self, cost: Cost) -> tuple[float, str]:
        """The seconds that `cost` takes at best, and what sets them."""
        arithmetic = cost.flops / self.flops + cost.exponentials / self.exponentials
        traffic = cost.bytes / self.bytes
        return max((arithmetic, "arithmetic"), (traffic, "bytes"))


def products(n: int, m: int, dim: int, times: int = 1) -> Cost:
    """`times` products of `(n, dim)` with `(dim, m)`."""
    return Cost(flops=2.0 * n * m * dim * times)


def propagation(n_edges: int, n_nodes: int, dim: int, n_layers: int) -> Cost:
    """Forward and backward over the edges both ways: a row read per edge, one written per node."""
    return Cost(bytes=2.0 * n_layers * (2 * n_edges + n_nodes) * dim * FLOAT)


def adam(n_parameters: int) -> Cost:
    """One step of Adam on float32 parameters."""
    return Cost(bytes=float(ADAM_TOUCHES * FLOAT * n_parameters))


def rows(n: int, dim: int) -> Cost:
    """Reading `n` rows."""
    return Cost(bytes=float(n * dim * FLOAT))
