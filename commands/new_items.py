"""`crossalign new-items`: finished runs on items that they never trained on."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import add_finished_runs
from .parser import Commands

RESULTS = "new_items.json"


def add(commands: Commands) -> None:
    """Add the command."""
    command = commands.add(
        "new-items",
        new_items,
        "evaluate finished runs on items that were withheld from training (data.split=new_items)",
        example="runs/compare --out runs/new-items",
    )
    add_finished_runs(command)


def new_items(options: argparse.Namespace) -> None:
    """Reload runs; print metrics of new items alone and among all, by how they are placed."""
    from ..fileio import write_json
    from ..locks import only_writer
    from ..run_folder import refuse_run_folder
    from ..studies.finished import finished_methods
    from ..studies.new_items import new_items_report

    refuse_run_folder(options.out)
    with only_writer(options.out):
        found = new_items_report(
            finished_methods(options.folders),
            k=options.k,
            split=options.split,
            progress=not options.quiet,
            data=options.moved,
        )
        print("\n".join(found.lines()))
        file = Path(options.out) / RESULTS
        write_json(file, {"command": options.command_line, **found.to_dict()})
    print(f"\nresults  {file}")
