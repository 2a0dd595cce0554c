"""No square: nothing that a backbone or an alignment computes has the size of a dense matrix.

Whatever runs is run on n users and n items, and on twice as many. Watched are the storages of all
tensors that torch operations return, in forward, in backward and inside custom autograd functions,
and the peak of NumPy's memory. Not watched are buffers inside a compiled kernel: those of FAISS,
whose searches go by tiles of fixed size, and of `embedding_bag`.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from crossalign.align import ALIGNERS
from crossalign.datasets import Dataset
from crossalign.evaluation import recommend
from crossalign.graphs import GraphOptions, build_graph
from crossalign.models import BACKBONES, BPR, Backbone, Batch, Representations

N, BATCH, DIM = 2000, 256, 8
WIDTHS = {"image": 12, "text": 10}


class Watch(TorchDispatchMode):
    """Notes the size of the largest storage that a torch operation returns, in elements."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for value in tree_flatten(result)[0]:
            if isinstance(value, Tensor):
                assert value.layout == torch.strided, f"{func} returns a sparse tensor"
                size = value.untyped_storage().nbytes() // value.element_size()
                self.largest = max(self.largest, size)
        return result


class Peak(NamedTuple):
    elements: int
    numpy_bytes: int


def peak_of(run: Callable[[int], object], n: int) -> Peak:
    tracemalloc.start()
    try:
        with Watch() as watch:
            run(n)
        return Peak(watch.largest, tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


def assert_no_square(run: Callable[[int], object]) -> None:
    """`run(n)` works on n users and n items."""
    peak_of(run, 50)  # what is imported on first use does not count
    small, large = peak_of(run, N), peak_of(run, 2 * N)
    square = (2 * N) ** 2
    assert large.elements < square
    assert large.numpy_bytes < square  # not even one byte a cell
    assert large.elements < 3 * small.elements  # a square grows four-fold
    assert large.numpy_bytes < 3 * small.numpy_bytes


def random_data(n: int) -> Dataset:
    """`n` users and items, five pairs a user, and every item with someone."""
    rng = torch.Generator().manual_seed(0)
    items = torch.cat([torch.arange(n), torch.randint(n, (4 * n,), generator=rng)])
    cells = (torch.arange(n).repeat(5) * n + items).unique()
    train = torch.stack([cells // n, cells % n])
    features = {name: torch.randn(n, width, generator=rng) for name, width in WIDTHS.items()}
    held_out = torch.tensor([[0], [n - 1]])
    return Dataset("random", n, n, train, held_out, held_out, features)


def batch_of(data: Dataset) -> Batch:
    rng = torch.Generator().manual_seed(0)
    users, items = data.train[:, torch.randint(data.train.shape[1], (BATCH,), generator=rng)]
    return Batch(users, items, (items + 1) % data.n_items)


def train_and_evaluate(cls: type[Backbone], data: Dataset) -> None:
    """Everything a backbone does, from its graph to a few recommendations."""
    # One MiB at a time: the default would let a search take the whole of this small catalogue.
    graph = build_graph(data, GraphOptions(memory_mib=1), relations=cls.relations)
    torch.manual_seed(0)
    backbone = cls(graph, data.features, dim=DIM)
    for epoch in range(2):
        backbone.begin_epoch(torch.Generator().manual_seed(epoch))
        torch.stack(list(backbone.loss(batch_of(data), backbone()).values())).sum().backward()
    with torch.no_grad():
        recommend(backbone.eval()(), torch.arange(10), 5, exclude=data.train)


@pytest.mark.parametrize("name", BACKBONES.names())
def test_no_backbone_needs_a_square(name: str) -> None:
    assert_no_square(lambda n: train_and_evaluate(BACKBONES[name].cls, random_data(n)))


@pytest.mark.parametrize("name", ALIGNERS.names())
def test_no_alignment_needs_a_square(name: str) -> None:
    def run(n: int) -> None:
        data, cls = random_data(n), ALIGNERS[name].cls
        torch.manual_seed(0)
        more = {"neighbors": torch.randint(n, (n, 5))} if cls.needs_neighbors else {}
        align = cls(DIM, tuple(WIDTHS), feature_dims=WIDTHS, missing={}, **more)
        user, item = (torch.randn(n, DIM, requires_grad=True) for _ in range(2))
        users, items, _ = batch_of(data)
        terms = align.terms(user, item, data.features, users, items)
        torch.stack(list(terms.values())).sum().backward()
        align.diagnostics()

    assert_no_square(run)


class Smoothed(BPR):
    """A toy with a dense matrix between all items, users or both, where `place` says."""

    place = ""

    def begin_epoch(self, rng: torch.Generator) -> None:
        if self.place == "epoch":
            (self.user_embedding @ self.user_embedding.T).argmax(1)
        if self.place == "numpy":
            rows = self.item_embedding.detach().numpy()
            np.matmul(rows, rows.T).argmax(1)

    def forward(self) -> Representations:
        user, item = super().forward()
        if self.place == "forward":
            item = (item @ item.T).softmax(1) @ item
        if self.place == "backward":
            item = SquareBackward.apply(item)
        return Representations(user, item)


class SquareBackward(torch.autograd.Function):
    """The identity, with a dense matrix in its backward pass."""

    @staticmethod
    def forward(ctx, item):
        return item.clone()

    @staticmethod
    def backward(ctx, grad):
        return (grad @ grad.T).softmax(1) @ grad


@pytest.mark.parametrize("place", ["epoch", "numpy", "forward", "backward"])
def test_a_square_is_noticed_wherever_it_is(place: str) -> None:
    toy = type("Toy", (Smoothed,), {"place": place})
    with pytest.raises(AssertionError, match="Peak"):
        assert_no_square(lambda n: train_and_evaluate(toy, random_data(n)))


def test_a_toy_without_a_square_passes() -> None:
    assert_no_square(lambda n: train_and_evaluate(Smoothed, random_data(n)))
