"""A small data set in float64, and the comparison of a plain formulation with ours."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from crossalign.datasets import Dataset
from crossalign.graphs import GraphOptions, build_graph
from crossalign.models import Backbone, Batch
from crossalign.training import seed_everything

N_USERS, N_ITEMS, N_PAIRS, BATCH, DIM, NEAR = 23, 19, 120, 40, 8, 4
TOLERANCE, ROUNDING = 1e-6, 1e-12


@pytest.fixture(autouse=True)
def double():
    """Everything in float64, always from the same seed."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    seed_everything(0)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def data() -> Dataset:
    """Users and items that occur at least once; batches repeat both."""
    rng = torch.Generator().manual_seed(1)
    every = torch.stack([torch.arange(N_USERS), torch.arange(N_USERS) % N_ITEMS])
    more = torch.stack([torch.randint(n, (N_PAIRS,), generator=rng) for n in (N_USERS, N_ITEMS)])
    train = torch.cat([every, more], dim=1).unique(dim=1)
    unseen = torch.ones(N_USERS, N_ITEMS, dtype=torch.bool)
    unseen[train[0], train[1]] = False
    users, items = unseen.nonzero().T
    held_out = [torch.stack([users, items])[:, first::5] for first in (0, 1)]
    widths = {"image": 6, "text": 5}
    features = {m: torch.randn(N_ITEMS, width, generator=rng) for m, width in widths.items()}
    return Dataset("small", N_USERS, N_ITEMS, train, *held_out, features=features)


@pytest.fixture
def batch(data: Dataset) -> Batch:
    rng = torch.Generator().manual_seed(2)
    users, items = data.train[:, torch.randint(data.train.shape[1], (BATCH,), generator=rng)]
    return Batch(users, items, torch.randint(N_ITEMS, (BATCH,), generator=rng))


@pytest.fixture
def build(data: Dataset):
    """`build(cls, **options)`: our backbone and its graph."""

    def build(cls: type[Backbone], **options: object) -> SimpleNamespace:
        torch.set_default_dtype(torch.float32)  # in which features come and are searched
        graph = build_graph(data, GraphOptions(knn_k=NEAR), relations=cls.relations)
        torch.set_default_dtype(torch.float64)
        features = {m: table.double() for m, table in data.features.items()}
        model = cls(graph, features, dim=DIM, **options).double()
        return SimpleNamespace(model=model, graph=graph, features=features)

    return build


@pytest.fixture
def equal(batch: Batch):
    """`equal(ours, plain)`: the same parameters give the same loss and gradients."""

    def check(ours: Backbone, plain: nn.Module) -> None:
        plain.load_state_dict(ours.state_dict())
        expected = plain(*batch)
        found = torch.stack(list(ours.loss(batch, ours()).values())).sum()
        expected.backward()
        found.backward()
        close(found, expected)
        parameters = dict(ours.named_parameters())
        for name, parameter in plain.named_parameters():
            close(gradient(parameters[name]), gradient(parameter))

    return check


def gradient(parameter: Tensor) -> Tensor:
    """The gradient, zero where there is none: autograd is not always told the same way."""
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def close(ours: Tensor, plain: Tensor) -> None:
    atol = TOLERANCE * plain.detach().abs().max().item() + ROUNDING
    torch.testing.assert_close(ours, plain, rtol=TOLERANCE, atol=atol)
