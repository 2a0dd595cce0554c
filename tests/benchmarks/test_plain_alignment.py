"""The plain losses of the three levels equal ours, with gradients; so does FREEDOM with CROSS."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import normalize

from crossalign.align import CROSS, CLALoss, CNALoss, ILALoss
from crossalign.benchmarks.plain import freedom as plain_freedom
from crossalign.benchmarks.plain.cluster_level import cluster_level
from crossalign.benchmarks.plain.cross import Aligned, Cross
from crossalign.benchmarks.plain.item_level import item_level
from crossalign.benchmarks.plain.neighbor_level import neighbor_level
from crossalign.models import FREEDOM

from .conftest import BATCH, DIM, N_ITEMS, N_USERS, close


@pytest.fixture
def tables() -> SimpleNamespace:
    """Tables of users, ids and two modalities, and pairs with repeated users and items."""
    names = ("id", "image", "text")
    return SimpleNamespace(
        user=torch.randn(N_USERS, DIM, requires_grad=True),
        views={name: torch.randn(N_ITEMS, DIM, requires_grad=True) for name in names},
        users=torch.randint(N_USERS, (BATCH,)),
        items=torch.randint(N_ITEMS, (BATCH,)),
        neighbors=torch.randint(N_ITEMS, (N_ITEMS, 3)),
    )


def same(ours, plain, inputs) -> None:
    close(ours, plain)
    found = torch.autograd.grad(ours, inputs, allow_unused=True, materialize_grads=True)
    expected = torch.autograd.grad(plain, inputs, allow_unused=True, materialize_grads=True)
    for mine, theirs in zip(found, expected, strict=True):
        close(mine, theirs)


@pytest.mark.parametrize("dynamic", [False, True])
def test_item_level(tables, dynamic: bool) -> None:
    ours = ILALoss(DIM, leaky_bi=dynamic)
    maps = {name: layer.weight for name, layer in ours.maps.items()}
    t = tables
    found = ours(t.user, *t.views.values(), t.users, t.items)
    plain = item_level(t.user, t.views, maps, ours.temperature, t.users, t.items, dynamic=dynamic)
    same(found, plain, [*t.views.values(), *maps.values(), ours.temperature])


def test_cluster_level(tables) -> None:
    ours, t = CLALoss(K=12, D=DIM), tables
    found = ours(t.user, *t.views.values(), t.users, t.items)
    books = (ours.prototypes_user_item, ours.prototypes_modalities)
    views = list(t.views.values())
    plain = cluster_level(t.user, views, *books, ours.temperature, t.users, t.items)
    same(found, plain, [t.user, *views, *books, ours.temperature])


def test_neighbor_level(tables) -> None:
    ours, t = CNALoss(tables.neighbors), tables
    views = list(t.views.values())
    plain = neighbor_level(views, t.neighbors, 0.2, t.items)
    same(ours(*views, t.items), plain, views)


def test_freedom_with_cross(data, build, batch, tables) -> None:
    freedom = build(FREEDOM, trainable_features=True)
    names = list(data.features)
    cross = CROSS(DIM, names, neighbors=tables.neighbors, n_prototypes=12)
    similar = {m: freedom.graph.edges(etype=f"similar_{m}", order="eid")[::-1] for m in names}
    plain = Aligned(
        plain_freedom.FREEDOM(
            data.train, data.n_users, data.n_items, freedom.features, similar, dim=DIM
        ),
        Cross(names, tables.neighbors, dim=DIM, n_prototypes=12),
    )
    plain.backbone.load_state_dict(freedom.model.state_dict())
    ours = {
        **{f"maps.{name}": layer.weight for name, layer in cross.ila.maps.items()},
        "codebook": cross.cla.prototypes_user_item,
        "modality_codebook": cross.cla.prototypes_modalities,
        "ila_temperature": cross.ila.temperature,
        "cla_temperature": cross.cla.temperature,
    }
    plain.cross.load_state_dict({name: value.detach() for name, value in ours.items()})
    representations = freedom.model()
    terms = freedom.model.loss(batch, representations)
    content = freedom.model.modalities()
    aligned = cross(*representations, content, batch.users, batch.items)
    found, expected = torch.stack(list(terms.values())).sum() + aligned, plain(*batch)
    close(found, expected)
    found.backward()
    expected.backward()
    ours |= dict(freedom.model.named_parameters())
    for module in (plain.backbone, plain.cross):
        for name, parameter in module.named_parameters():
            close(ours[name].grad, parameter.grad)
    close(normalize(plain.cross.codebook), plain.cross.codebook)
