"""`crossalign visualize`: maps of the views of a run, before alignment and after."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import add_moved, add_out, add_quiet, name_list, positive, seed
from .parser import Commands


def add(commands: Commands) -> None:
    """Add the command."""
    command = commands.add(
        "visualize",
        visualize,
        "maps of id, content and users, before alignment and after",
        example="runs/first --against runs/alone",
    )
    command.add_argument("run_folder", metavar="RUN", help="run folder, shown after")
    command.add_argument(
        "--against", metavar="RUN", help="run shown before (default: RUN before its training)"
    )
    add_out(command, "folder for the page (default: RUN)")
    add_moved(command)
    add_quiet(command)

    maps = command.add_argument_group("maps")
    maps.add_argument(
        "--method", choices=["tsne", "pca", "umap"], default="tsne", help="default tsne"
    )
    maps.add_argument("--perplexity", type=float, default=30.0, help="of t-SNE (default 30)")
    maps.add_argument("--sample", type=positive, default=500, help="items drawn (default 500)")
    maps.add_argument("--pairs", type=positive, default=500, help="pairs drawn (default 500)")
    maps.add_argument("--seed", type=seed, default=0, help="of samples and maps (default 0)")

    near = command.add_argument_group("nearest items")
    near.add_argument(
        "--items",
        type=name_list,
        metavar="ID,ID",
        help="ids as in the data files (default: three popular items)",
    )
    near.add_argument("--neighbors", type=positive, default=5, help="of each item (default 5)")
    near.add_argument(
        "--titles", metavar="FILE", help="table of titles (default: titles.csv beside the data)"
    )
    near.add_argument(
        "--title-columns", metavar="ID,TITLE", type=_columns, help="its columns of ids and titles"
    )


def visualize(options: argparse.Namespace) -> None:
    """Draw the maps, print the gap numbers, and say where the page is."""
    from ..visuals import MapOptions, visualize
    from ..visuals.visualize import JSON_FILE, PAGE_FILE, Listed

    out = Path(options.out or options.run_folder)
    maps = MapOptions(
        method=options.method,
        perplexity=options.perplexity,
        sample=options.sample,
        pairs=options.pairs,
        seed=options.seed,
    )
    listed = Listed(
        options.items, options.neighbors, options.titles, options.title_columns, options.moved
    )
    found = visualize(
        options.run_folder,
        out,
        against=options.against,
        options=maps,
        listed=listed,
        command=options.command_line,
        progress=not options.quiet,
    )
    for scene in found.scenes:
        print(f"{scene.stage.label} ({scene.stage.folder})")
        print("\n".join(scene.stage.geometry.lines()) + "\n")
    print(f"page        {out / PAGE_FILE}\nnumbers     {out / JSON_FILE}")


def _columns(text: str) -> tuple[str, str]:
    """Two names with a comma between them."""
    item, comma, title = text.partition(",")
    if not (item and comma and title):
        raise argparse.ArgumentTypeError(f"'{text}' is not two columns such as item,title")
    return item, title
