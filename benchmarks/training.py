"""Epochs of every backbone of the table: plain against ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from epochs import BATCH, n_batches, n_full_batches, our_epoch, plain_epoch
from limits import Cost, adam, products, propagation, rows
from plain import bm3, dualgnn, freedom, grcn, lattice, lightgcn, ncl, slmrec, vbpr
from plain.cross import Aligned, Cross
from row import Row
from torch import Tensor, nn

from crossalign.align import CROSS
from crossalign.datasets import Dataset
from crossalign.graphs import GraphOptions, build_graph, cooccurrence_neighbors
from crossalign.graphs.dgl_import import DGLGraph
from crossalign.models import BACKBONES, Backbone
from crossalign.training import seed_everything

DIM, N_PROTOTYPES, N_NEIGHBORS = 64, 10240, 5
PUBLISHED = {
    "tiktok": {
        "lightgcn": 1.24,
        "freedom": 1.55,
        "bm3": 1.96,
        "vbpr": 0.69,
        "grcn": 10.4,
        "dualgnn": 9.2,
        "slmrec": 6.6,
        "ncl": 12.3,
        "lattice": 66.0,
        "freedom_cross": 119.0,
    },
    "baby": {"lightgcn": 4.6, "freedom": 17.0, "bm3": 19.0},
}


class Bench:
    """A data set, and both sides of a backbone on it."""

    def __init__(self, data: Dataset, name: str, n_steps: int, **options: object) -> None:
        self.data, self.name, self.n_steps = data, name, min(n_steps, n_full_batches(data))
        cls = BACKBONES[name].cls
        self.graph: DGLGraph = build_graph(data, GraphOptions(), relations=cls.relations)
        seed_everything(0)
        self.ours: Backbone = cls(self.graph, data.features, **options)
        self.sizes = (data.train, data.n_users, data.n_items)
        self.n_edges, self.n_nodes = data.train.shape[1], data.n_users + data.n_items
        self.widths = [table.shape[1] for table in data.features.values()]

    def row(
        self,
        work: str,
        plain: nn.Module,
        step: Cost,
        target: float,
        *,
        of_epoch: Cost | None = None,
        negatives: bool = True,
        note: str = "",
    ) -> Row:
        """The row, its steps scaled up; `step` and `of_epoch` are the least that is needed."""
        steps = n_batches(self.data)
        trained = sum(p.numel() for p in self.ours.parameters() if p.requires_grad)
        cost = (step + adam(trained)) * steps + (of_epoch or Cost())
        scaled = f"1 + {self.n_steps} of {steps} steps timed, scaled up"
        return Row(
            work=f"{work} epoch",
            plain=plain_epoch(plain, self.data, self.n_steps, negatives=negatives),
            ours=our_epoch(self.ours, self.data, self.n_steps),
            target=target,
            cost=cost,
            note=f"{scaled}; {note}" if note else scaled,
            published=PUBLISHED.get(self.data.name, {}).get(self.name),
        )

    def similar(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Item and neighbour of the edges of each item graph."""
        names = [etype for etype in self.graph.etypes if etype.startswith("similar_")]
        edges = {name: self.graph.edges(etype=name, order="eid") for name in names}
        return {name.removeprefix("similar_"): (dst, src) for name, (src, dst) in edges.items()}

    def propagation(self, n_layers: int, dim: int = DIM, share: float = 1.0) -> Cost:
        """Over a share of the interactions."""
        return propagation(int(share * self.n_edges), self.n_nodes, dim, n_layers)

    def projected(self, n: int) -> Cost:
        """Content of `n` rows and the gradient of its projectors."""
        n = min(n, self.data.n_items)
        cost = (products(n, DIM, width, times=2) + rows(n, width) for width in self.widths)
        return sum(cost, Cost())


def lightgcn_row(data: Dataset) -> Row:
    bench = Bench(data, "lightgcn", 12)
    return bench.row("LightGCN", lightgcn.LightGCN(*bench.sizes), bench.propagation(3), 6)


def vbpr_row(data: Dataset) -> Row:
    bench = Bench(data, "vbpr", 12)
    plain = vbpr.VBPR(data.n_users, data.n_items, data.features)
    return bench.row("VBPR", plain, bench.projected(2 * BATCH), 4)


def freedom_row(data: Dataset, n_steps: int = 12, target: float = 4, wide: str = "") -> Row:
    bench = Bench(data, "freedom", n_steps)
    similar = bench.similar()
    n_similar = sum(len(item) for item, _ in similar.values())
    cost = bench.propagation(2, share=0.2) + rows(2 * n_similar, DIM)
    plain = freedom.FREEDOM(*bench.sizes, data.features, similar)
    row = bench.row(f"FREEDOM{wide}", plain, cost + bench.projected(2 * BATCH), target)
    return replace(row, rounds=1 if wide else 3)


def bm3_row(data: Dataset, n_steps: int = 12, target: float = 4, wide: str = "") -> Row:
    bench = Bench(data, "bm3", n_steps)
    plain = bm3.BM3(*bench.sizes, data.features)
    cost = bench.propagation(1) + bench.projected(BATCH)
    row = bench.row(f"BM3{wide}", plain, cost, target, negatives=False)
    return replace(row, rounds=1 if wide else 3)


def with_wide_features(data: Dataset) -> Dataset:
    """The same interactions and item graphs, with 4096 and 384 random features."""
    rng = torch.Generator().manual_seed(0)
    widths = {"image": 4096, "text": 384}
    tables = {m: torch.randn(data.n_items, width, generator=rng) for m, width in widths.items()}
    return replace(data, features=tables, missing={})


def freedom_wide_row(data: Dataset) -> Row:
    return freedom_row(with_wide_features(data), 3, 10, ", 4096 + 384 features,")


def bm3_wide_row(data: Dataset) -> Row:
    return bm3_row(with_wide_features(data), 3, 10, ", 4096 + 384 features,")


def grcn_row(data: Dataset) -> Row:
    bench = Bench(data, "grcn", 4)
    plain = grcn.GRCN(*bench.sizes, data.features)
    # Rows read per edge: attention and two sums in each modality, two layers both ways of ids;
    # a sum's gradient reads two rows for its weights and one for its input.
    gathered = len(bench.widths) * (2 + 2 + 2 * 3 + 2) + 4 + 4 * 3
    cost = rows(gathered * bench.n_edges, DIM) + bench.projected(data.n_items)
    return bench.row("GRCN", plain, cost, 5)


def dualgnn_row(data: Dataset) -> Row:
    bench = Bench(data, "dualgnn", 4, parity=True)
    ids, counts = bench.ours.neighbors.tolist(), bench.ours.counts.tolist()
    near = [
        ([i for i in mine if i >= 0], [float(c) for i, c in zip(mine, n, strict=True) if i >= 0])
        for mine, n in zip(ids, counts, strict=True)
    ]
    plain = dualgnn.DualGNN(*bench.sizes, data.features, near)
    hidden = (products(data.n_items, 256, w, 2) + products(data.n_items, DIM, 256, 3)
              for w in bench.widths)  # fmt: skip
    cost = bench.propagation(2, DIM * len(bench.widths)) + rows(2 * 40 * data.n_users, DIM)
    return bench.row("DualGNN", plain, sum(hidden, cost), 5)


def slmrec_row(data: Dataset) -> Row:
    bench = Bench(data, "slmrec", 4)
    width = DIM * (1 + len(bench.widths))
    cost = bench.propagation(3, width) + products(bench.n_nodes, DIM, width, 3)
    cost = cost + bench.projected(data.n_items) + products(BATCH, BATCH, DIM, 9)
    return bench.row("SLMRec", slmrec.SLMRec(*bench.sizes, data.features), cost, 5)


def ncl_row(data: Dataset) -> Row:
    bench = Bench(data, "ncl", 2)
    users, items = distinct_rows(data)
    structure = products(users, data.n_users, DIM, 3) + products(items, data.n_items, DIM, 3)
    clusters = products(users + items, 1000, DIM, 2)
    row = bench.row(
        "NCL",
        ncl.NCL(*bench.sizes),
        structure + clusters + bench.propagation(3),
        5,
        of_epoch=products(bench.n_nodes, 1000, DIM, 25),
        note="both call the same k-means",
    )
    return replace(row, rounds=1)


def lattice_row(data: Dataset) -> Row:
    bench = Bench(data, "lattice", 2)
    plain = lattice.LATTICE(*bench.sizes, data.features)
    learned = products(data.n_items, data.n_items, DIM, times=len(bench.widths))
    cost = bench.propagation(2) + rows(2 * 2 * 20 * data.n_items, DIM)
    note = "the dense graph is built once, as in an epoch"
    row = bench.row("LATTICE", plain, cost, 20, of_epoch=learned, note=note)
    return replace(row, rounds=1, warm_up=False)


def cross_row(data: Dataset) -> Row:
    bench = Bench(data, "freedom", 2)
    near = cooccurrence_neighbors(data.train, data.n_users, data.n_items, N_NEIGHBORS).ids
    names = list(data.features)
    align = CROSS(DIM, names, neighbors=near, n_prototypes=N_PROTOTYPES)
    backbone = freedom.FREEDOM(*bench.sizes, data.features, bench.similar())
    plain = Aligned(backbone, Cross(names, align.cna.neighbors, n_prototypes=N_PROTOTYPES))
    steps = n_batches(data)
    return Row(
        work="FREEDOM + CROSS epoch",
        plain=plain_epoch(plain, data, bench.n_steps),
        ours=our_epoch(bench.ours, data, bench.n_steps, align),
        target=4,
        cost=cluster_cost(*distinct_rows(data), 1 + len(names)) * steps,
        note=f"1 + {bench.n_steps} of {steps} steps timed, scaled up",
        published=PUBLISHED.get(data.name, {}).get("freedom_cross"),
        rounds=1,
    )


def distinct_rows(data: Dataset) -> tuple[int, int]:
    """Distinct users and items of a random batch."""
    rng = torch.Generator().manual_seed(0)
    batch = torch.randperm(data.train.shape[1], generator=rng)[:BATCH]
    users, items = (len(ids.unique()) for ids in data.train[:, batch])
    return users, items


def cluster_cost(users: int, items: int, n_views: int, n_prototypes: int = N_PROTOTYPES) -> Cost:
    """Of the distinct rows of every view: their scores, predictions and codes, which are two
    exponentials of each score, and the product of both with either factor of the scores."""
    n = users + (1 + n_views) * items
    exponentials = Cost(exponentials=2.0 * n * n_prototypes)
    return products(n, n_prototypes, DIM, times=5) + exponentials


TRAINING: dict[str, Callable[[Dataset], Row]] = {
    "lightgcn": lightgcn_row,
    "freedom": freedom_row,
    "bm3": bm3_row,
    "vbpr": vbpr_row,
    "grcn": grcn_row,
    "dualgnn": dualgnn_row,
    "slmrec": slmrec_row,
    "ncl": ncl_row,
    "lattice": lattice_row,
    "freedom_cross": cross_row,
    "freedom_wide": freedom_wide_row,
    "bm3_wide": bm3_wide_row,
}
