"""Every plain backbone of the benchmarks has the loss and the gradients of ours."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from crossalign.benchmarks.plain import (
    bm3,
    dualgnn,
    freedom,
    grcn,
    lattice,
    lightgcn,
    ncl,
    slmrec,
    vbpr,
)
from crossalign.models import BM3, FREEDOM, GRCN, LATTICE, NCL, VBPR, DualGNN, LightGCN, SLMRec

from .conftest import DIM


def sizes(data) -> tuple[object, int, int]:
    return data.train, data.n_users, data.n_items


def test_lightgcn(data, build, equal) -> None:
    ours = build(LightGCN, reg_weight=0.1)
    equal(ours.model, lightgcn.LightGCN(*sizes(data), dim=DIM, reg_weight=0.1))


def test_vbpr(data, build, equal) -> None:
    ours = build(VBPR)
    equal(ours.model, vbpr.VBPR(data.n_users, data.n_items, ours.features, dim=DIM))


def test_freedom_on_kept_edges(data, build, equal) -> None:
    ours = build(FREEDOM, reg_weight=0.1, trainable_features=True)
    similar = {m: ours.graph.edges(etype=f"similar_{m}", order="eid")[::-1] for m in data.features}
    plain = freedom.FREEDOM(*sizes(data), ours.features, similar, dim=DIM, reg_weight=0.1)
    kept = torch.arange(0, data.train.shape[1], 2)
    ours.model.propagation.keep(kept)
    plain.keep(kept)
    equal(ours.model, plain)


def test_bm3(data, build, equal) -> None:
    """Without dropout, which the two draw for different rows."""
    ours = build(BM3, dropout=0.0, trainable_features=True)
    equal(ours.model, bm3.BM3(*sizes(data), ours.features, dim=DIM, dropout=0.0))


def test_grcn(data, build, equal) -> None:
    ours = build(GRCN, reg_weight=0.1)
    equal(ours.model, grcn.GRCN(*sizes(data), ours.features, dim=DIM, reg_weight=0.1))


def test_dualgnn_with_the_same_repeated_neighbors(data, build, equal) -> None:
    ours = build(DualGNN, hidden_dim=256, n_neighbors=6, parity=True)
    near = [
        ([i for i in ids if i >= 0], [float(c) for i, c in zip(ids, counts, strict=True) if i >= 0])
        for ids, counts in zip(
            ours.model.neighbors.tolist(), ours.model.counts.tolist(), strict=True
        )
    ]
    plain = dualgnn.DualGNN(*sizes(data), ours.features, near, dim=DIM, n_neighbors=6)
    counts = torch.zeros(data.n_users, 6)
    for user, (ids, numbers) in enumerate(near):
        number_of = dict(zip(ids, numbers, strict=True))
        counts[user] = torch.tensor([number_of[i] for i in plain.neighbors[user].tolist()])
    ours.model.use_neighbors(plain.neighbors, counts)
    equal(ours.model, plain)


def test_slmrec(data, build, equal) -> None:
    ours = build(SLMRec, reg_weight=0.5)
    equal(ours.model, slmrec.SLMRec(*sizes(data), ours.features, dim=DIM, reg_weight=0.5))


def test_ncl_with_the_same_prototypes(data, build, equal) -> None:
    ours = build(NCL, ssl_weight=0.01, proto_weight=0.03, n_clusters=5)
    plain = ncl.NCL(*sizes(data), dim=DIM, ssl_weight=0.01, proto_weight=0.03, n_clusters=5)
    plain.begin_epoch()
    for prototypes, (centroids, cluster) in zip(
        (ours.model.user_prototypes, ours.model.item_prototypes), plain.clusters, strict=True
    ):
        prototypes.set(centroids, cluster)
    equal(ours.model, plain)


def test_lattice_in_the_batch_that_builds_the_graph_and_after(data, build, equal) -> None:
    ours = build(LATTICE, n_neighbors=4, trainable_features=True)
    for diagonal_products in (True, False):
        plain = lattice.LATTICE(
            *sizes(data),
            ours.features,
            dim=DIM,
            n_neighbors=4,
            diagonal_products=diagonal_products,
        )
        for model in (ours.model, plain):
            model.zero_grad()
            model.begin_epoch() if model is plain else model.begin_epoch(torch.Generator())
        equal(ours.model, plain)
        ours.model.zero_grad()
        plain.zero_grad()
        assert plain.item_graph is not None
        equal(ours.model, plain)


def test_rows_of_features_have_any_length(data) -> None:
    """Else the plain SLMRec, which scales them, would not be tested."""
    for table in data.features.values():
        assert not torch.allclose(table, normalize(table))
