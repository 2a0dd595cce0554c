"""`crossalign describe` and `crossalign neighbors`."""

from __future__ import annotations

import argparse

from .arguments import DATA_HELP, add_out_file, add_quiet, positive
from .parser import Commands, run_config


def add(commands: Commands) -> None:
    """Add the commands."""
    command = commands.add(
        "describe",
        describe,
        "statistics and warnings of a data set, or what lies where in a partition folder",
        example="planted",
        configured=True,
    )
    command.add_argument("data", nargs="?", help=DATA_HELP)

    command = commands.add(
        "neighbors",
        neighbors,
        "write co-occurrence neighbours; the same command goes on where a killed one stopped",
        example="planted -k 10 -o neighbors.npz",
        configured=True,
    )
    command.add_argument("data", nargs="?", help=DATA_HELP)
    command.add_argument("-k", type=positive, help="neighbours per item (default neighbors.k)")
    add_out_file(command, ".npz, or a folder to map")
    add_quiet(command)


def describe(options: argparse.Namespace) -> None:
    """Print what a data set or a partition holds."""
    from ..datasets import describe, load_dataset
    from ..distributed.describe import parts_lines
    from ..distributed.folder import is_partition
    from ..report.dataset_text import dataset_lines

    if options.data is not None and is_partition(options.data):
        print("\n".join(parts_lines(options.data)))
        return
    config = run_config(options)
    found = describe(load_dataset(config.path, options=config.data))
    print("\n".join(dataset_lines(found)))


def neighbors(options: argparse.Namespace) -> None:
    """Compute neighbours and write them to a file."""
    from ..datasets import load_dataset
    from ..graphs.neighbor_search import write_neighbors

    config = run_config(options, {"neighbors.k": options.k})
    dataset = load_dataset(config.path, options=config.data)
    neighbors = write_neighbors(options.out, config.neighbors, dataset, progress=not options.quiet)
    full = (neighbors.ids >= 0).all(dim=1).float().mean().item()
    k = neighbors.ids.shape[1]
    if k < config.neighbors.k:
        print(f"k is {k}, not {config.neighbors.k}: an item has no more other items than that")
    print(f"{dataset.n_items} items, k = {k}, {full:.1%} have all k neighbours")
    if "recall" in neighbors.metadata:
        print(f"recall against exact counting, on a sample: {neighbors.metadata['recall']:.3f}")
    print(f"written to {options.out}")
