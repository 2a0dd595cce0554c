"""`crossalign tune`: search of hyper-parameters on validation."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import add_out, add_quiet, add_set, positive, seed
from .parser import Commands

SHOWN = 5
"""Trials that the terminal shows."""


def add(commands: Commands) -> None:
    """Add the command."""
    command = commands.add(
        "tune",
        tune,
        "search hyper-parameters with Optuna, on validation",
        example="presets/planted/2-lightgcn-fettle.yaml --trials 20 --out runs/tuned",
    )
    command.add_argument("config", metavar="CONFIG", help="YAML file to start from")
    command.add_argument("--data", metavar="DATA", help="data to use instead of the file's")
    command.add_argument("--trials", type=positive, required=True, help="how many in all")
    command.add_argument(
        "--space",
        metavar="FILE",
        help="YAML file: key -> list of values or {low, high, log} (default: the papers' grid)",
    )
    command.add_argument("--no-pruning", action="store_true", help="train every trial to its end")
    command.add_argument("--seed", type=seed, default=0, help="of the draws (default 0)")
    command.add_argument("--jobs", type=positive, default=1, help="processes at a time (default 1)")
    add_out(command, "folder of the search", required=True)
    add_set(command)
    add_quiet(command)


def tune(options: argparse.Namespace) -> None:
    """Run the search, print its best trials, and say where everything is."""
    from ..config import load_config
    from ..report.numbers import number
    from ..report.text_table import text_table
    from ..run_files import REPORT_FILE
    from ..tuning import Tuning, paper_space, read_space, tune
    from ..tuning.tune import BEST_FILE

    config = load_config(options.config, options.set, imports=options.imports, path=options.data)
    space = read_space(options.space) if options.space else paper_space(config)
    what = Tuning(config, space, Path(options.out), options.seed, not options.no_pruning)
    result = tune(
        what,
        options.trials,
        jobs=options.jobs,
        progress=not options.quiet,
        command=options.command_line,
    )
    head = ["trial", "state", f"valid {result.metric}", "epoch"]
    rows = [
        [str(t.number), t.state, number(t.value), str(t.best_epoch or "–")]
        for t in result.trials[:SHOWN]
    ]
    print("\n".join(text_table(head, rows)))
    chosen = ", ".join(
        f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in result.best.params.items()
    )
    print(f"\nbest: {chosen}")
    best = result.folder / BEST_FILE
    print(f"\nreport      {result.folder / REPORT_FILE}\nbest        {best}")
    print(f"train it    crossalign train --config {best} --out NEW_FOLDER")
