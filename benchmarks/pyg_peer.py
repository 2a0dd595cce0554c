"""LightGCN on sampled neighbours: PyG's `LinkNeighborLoader` beside ours, in one run.

    python benchmarks/pyg_peer.py [--edges 1000000] [--batch 2048] [--fanout 10 5] [--steps 10]

Both train on the same generated graph (`sampled.py`), with the same batch, fan-outs and number of
negatives, one a pair. PyG's side has the shape of its own example for large graphs: a loader of
links with binary negatives, an `Embedding` of the nodes of the batch, `LGConv` layers, BPR and
Adam with sparse gradients. Steps are timed in turn. It needs `pip install torch_geometric` and a
sampler for it, `pyg-lib` or `torch-sparse`, neither of which crossalign depends on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from sampled import DIM, generated, lightgcn
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from crossalign.datasets import Dataset
from crossalign.fileio import write_text
from crossalign.training import TrainingOptions
from crossalign.training.optimizer import make_optimizer
from crossalign.training.steps import SampledBlocks

try:
    from torch_geometric.data import Data
    from torch_geometric.loader import LinkNeighborLoader
    from torch_geometric.nn import LGConv
    from torch_geometric.typing import WITH_PYG_LIB, WITH_TORCH_SPARSE
except ImportError as error:
    Data, REASON = None, error

Step = Callable[[], None]


class PlainLightGCN(nn.Module):
    """LightGCN on the nodes of a sampled subgraph."""

    def __init__(self, n_nodes: int, n_layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_nodes, DIM, sparse=True)
        nn.init.xavier_uniform_(self.embedding.weight)
        self.convs = nn.ModuleList(LGConv() for _ in range(n_layers))

    def forward(self, batch: Any) -> Tensor:
        """BPR of the batch's links and their negatives."""
        x = self.embedding(batch.n_id)
        total = x
        for conv in self.convs:
            x = conv(x, batch.edge_index)
            total = total + x
        out = total / (len(self.convs) + 1)
        source, destination = (out[ends] for ends in batch.edge_label_index)
        score = (source * destination).sum(1)
        positive, negative = score[batch.edge_label > 0], score[batch.edge_label == 0]
        return -logsigmoid(positive - negative).mean()


def pyg_step(data: Dataset, options: argparse.Namespace) -> Step:
    """A step of PyG's side."""
    users, items = data.train
    ends = torch.stack([users, items + data.n_users])
    n_nodes = data.n_users + data.n_items
    graph = Data(edge_index=torch.cat([ends, ends.flip(0)], dim=1), num_nodes=n_nodes)
    loader = LinkNeighborLoader(
        graph,
        num_neighbors=options.fanout,
        edge_label_index=ends,
        edge_label=torch.ones(ends.shape[1]),
        neg_sampling="binary",
        batch_size=options.batch,
        shuffle=True,
    )
    model = PlainLightGCN(n_nodes, len(options.fanout))
    optimizer = torch.optim.SparseAdam(model.parameters())
    batches = iter(loader)

    def step() -> None:
        optimizer.zero_grad()
        model(next(batches)).backward()
        optimizer.step()

    return step


def our_step(data: Dataset, options: argparse.Namespace) -> Step:
    """A step of ours."""
    fanout = tuple(options.fanout)
    training = TrainingOptions(
        batch_size=options.batch, sampling="blocks", fanout=fanout, lazy_embeddings=True
    )
    who = lightgcn(data, len(fanout))
    optimizer = make_optimizer(who.backbone.parameters(), training)
    losses_of = SampledBlocks(who, data, training, 0).losses(1, torch.Generator().manual_seed(0))

    def step() -> None:
        optimizer.zero_grad()
        next(losses_of).total().backward()
        optimizer.step()

    return step


def rounds(steps: list[Step], n: int) -> Iterator[list[float]]:
    """Seconds of a step of each side, averaged over `n`, side after side, without end."""
    while True:
        found = []
        for step in steps:
            start = time.perf_counter()
            for _ in range(n):
                step()
            found.append((time.perf_counter() - start) / n)
        yield found


def main() -> int:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--edges", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--fanout", type=int, nargs="+", default=[10, 5], help="one a layer")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--out", type=Path, default="runs/pyg_peer.json")
    options = parser.parse_args()
    if Data is None:
        print(f"PyG is not there ({REASON}): run pip install torch_geometric", file=sys.stderr)
        return 2
    if not (WITH_PYG_LIB or WITH_TORCH_SPARSE):
        print(
            "PyG has no sampler here: install pyg-lib or torch-sparse for this torch, see "
            "https://pytorch-geometric.readthedocs.io/en/latest/install/installation.html",
            file=sys.stderr,
        )
        return 2
    data = generated(options.edges)
    steps = [pyg_step(data, options), our_step(data, options)]
    next(rounds(steps, 1))  # warm up
    found = list(islice(rounds(steps, options.steps), 5))
    theirs, ours = (options.batch / statistics.median(side) for side in zip(*found, strict=True))
    ratio = statistics.median(plain / fast for plain, fast in found)
    print(
        f"{options.edges:.0e} edges, {torch.get_num_threads()} threads: PyG {theirs:,.0f} "
        f"interactions/s, ours {ours:,.0f}, {ratio:.1f} x"
    )
    content = {"edges": options.edges, "pyg": theirs, "ours": ours, "ratio": ratio}
    write_text(options.out, json.dumps(content, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
