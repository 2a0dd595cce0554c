"""`crossalign describe`, `crossalign neighbors` and `crossalign graph`."""

from __future__ import annotations

import argparse

from .arguments import DATA_HELP, add_out_file, add_quiet, name_list, positive
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
    add_out_file(command, ".npz, .csv or .parquet, or a folder to map")
    add_quiet(command)

    command = commands.add(
        "graph",
        graph,
        "write the heterograph in DGL's own format, for programs without crossalign",
        example="planted --relations interacts,similar -o shop.dgl",
        configured=True,
    )
    command.add_argument("data", nargs="?", help=DATA_HELP)
    command.add_argument(
        "--relations",
        type=name_list,
        default="interacts,interacted_by",
        metavar="NAME,NAME",
        help="interacts, interacted_by, similar, unified, cooccurs, user_cooccurs, interests "
        "(default the first two)",
    )
    command.add_argument("--features", action="store_true", help="put content on the items")
    command.add_argument("--splits", action="store_true", help="put the pairs of all splits beside")
    add_out_file(command, ".dgl; ids and a description are written beside it")


def describe(options: argparse.Namespace) -> None:
    """Print what a data set or a partition holds."""
    from ..datasets import describe, load_dataset
    from ..datasets.unread import unread_files
    from ..distributed.describe import parts_lines
    from ..distributed.folder import is_partition
    from ..report.dataset_text import dataset_lines

    if options.data is not None and is_partition(options.data):
        print("\n".join(parts_lines(options.data)))
        return
    config = run_config(options)
    dataset = load_dataset(config.path, options=config.data)
    found = describe(dataset, unread=unread_files(config.path, config.data, dataset))
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


def graph(options: argparse.Namespace) -> None:
    """Build the heterograph, write it, and say what is in it."""
    from ..datasets import load_dataset
    from ..graphs import write_graph
    from ..graphs.options import DEFAULT_COOCCURRING

    config = run_config(options)
    dataset = load_dataset(config.path, options=config.data)
    written = write_graph(
        options.out,
        dataset,
        config.graph,
        relations=options.relations,
        features=options.features,
        splits=options.splits,
    )
    about = written.about
    print(", ".join(f"{count:,} {kind}s" for kind, count in about["nodes"].items()))
    for *etype, count in about["edges"]:
        print(f"{' - '.join(etype)}: {count:,} edges")
    if config.graph.cooccur_k == 0 and any("cooccurs" in name for name in options.relations):
        print(f"graph.cooccur_k is 0, which stands for {DEFAULT_COOCCURRING} neighbours")
    if about["features"]:
        print("features: " + ", ".join(f"{name} {dim}" for name, dim in about["features"].items()))
    if about["splits"]:
        print("splits: " + ", ".join(f"{name} {n:,}" for name, n in about["splits"].items()))
    print("written to " + ", ".join(map(str, written.files)))
