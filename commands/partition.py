"""`crossalign partition`."""

from __future__ import annotations

import argparse

from .arguments import DATA_HELP, add_out, add_quiet, positive
from .parser import Commands, run_config


def add(commands: Commands) -> None:
    """Add the command."""
    command = commands.add(
        "partition",
        partition,
        "cut a data set into parts, one for each host that trains on it",
        example="planted --parts 2 --out parts",
        configured=True,
    )
    command.add_argument("data", nargs="?", help=DATA_HELP)
    command.add_argument("--parts", type=positive, required=True, help="number of hosts")
    command.add_argument(
        "--method", choices=["metis", "random"], default="metis", help="default metis"
    )
    command.add_argument(
        "--balance",
        choices=["edges", "nodes"],
        default="edges",
        help="what parts have alike, beside users and items (default edges)",
    )
    command.add_argument(
        "--without",
        choices=["similar", "neighbors", "lists"],
        help="leave out content neighbours (FREEDOM), neighbours of feedback (CROSS), or both",
    )
    add_out(command, "new folder", required=True)
    add_quiet(command)


def partition(options: argparse.Namespace) -> None:
    """Say what it takes, cut, and show what lies where."""
    from ..config import to_yaml
    from ..datasets import load_dataset
    from ..distributed.describe import parts_lines
    from ..distributed.estimate import estimate
    from ..distributed.partition import PartitionOptions, partition
    from ..graphs.neighbor_search import make_neighbors

    config = run_config(options)
    dataset = load_dataset(config.path, options=config.data)
    similar = options.without not in ("similar", "lists") and bool(dataset.features)
    wanted = options.without not in ("neighbors", "lists")
    lists = (config.graph.knn_k * len(dataset.modalities) if similar else 0) + (
        config.neighbors.k if wanted else 0
    )
    print(estimate(dataset, options.method, lists=lists).line(), flush=True)
    neighbors = None
    if wanted:
        neighbors = make_neighbors(config.neighbors, dataset, progress=not options.quiet).ids
    partition(
        dataset,
        options.out,
        PartitionOptions(
            options.parts,
            options.method,
            options.balance,
            similar,
            config.neighbors.by or "cooccurrence",
        ),
        graph_options=config.graph,
        neighbors=neighbors,
        config_text=to_yaml(config),
    )
    print("\n".join(parts_lines(options.out)))
