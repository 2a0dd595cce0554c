"""`crossalign compare`, `crossalign search` and `crossalign demo`: several runs side by side."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError
from .parser import DATA_HELP, Commands, add_set, add_study, run_config

if TYPE_CHECKING:
    from ..study import Method

METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
PRESETS = Path(__file__).parent.parent / "presets"


def add(commands: Commands) -> None:
    """Add the commands."""
    command = commands.add("compare", compare, "train several configurations with several seeds")
    command.add_argument("configs", nargs="+", metavar="CONFIG", help="YAML files, one a method")
    command.add_argument("--data", metavar="DATA", help="data to use instead of the files'")
    add_set(command)
    add_study(command, seeds="0,1,2")

    command = commands.add("search", search, "grid search, ranked on validation", configured=True)
    command.add_argument("data", nargs="?", help=DATA_HELP)
    command.add_argument("--backbone")
    command.add_argument("--alignment")
    command.add_argument(
        "--grid", action="append", default=[], metavar="KEY=V,V", help="values of one option"
    )
    add_study(command, seeds="0")

    command = commands.add("demo", demo, "backbone, FETTLE and CROSS on built-in data")
    add_study(command, seeds="0,1,2")


def compare(options: argparse.Namespace) -> None:
    """Train one method per configuration file; print test metrics."""
    from ..config import load_config
    from ..study import compared_methods

    configs = [load_config(file, options.set, path=options.data) for file in options.configs]
    run_and_print(options, compared_methods(configs), split="test")


def search(options: argparse.Namespace) -> None:
    """Train every point of a grid; print validation metrics, best first."""
    import yaml

    from ..study import grid_methods

    grid = {}
    for entry in options.grid:
        key, equals, values = entry.partition("=")
        if not equals:
            raise ConfigError(f"--grid {entry}: write it as key=value,value")
        grid[key] = [yaml.safe_load(value) for value in values.split(",")]
    run_and_print(options, grid_methods(run_config(options), grid), split="valid")


def demo(options: argparse.Namespace) -> None:
    """Compare the presets of the built-in data."""
    options.configs = sorted((PRESETS / "planted").glob("*.yaml"))
    options.data, options.set = None, []
    compare(options)


def run_and_print(options: argparse.Namespace, methods: list[Method], split: str) -> None:
    """Run a study, print its table, and write its report."""
    from ..report import write_study_report
    from ..study import format_table, run_study

    results = run_study(
        methods, options.seeds, options.out, jobs=options.jobs, progress=not options.quiet
    )
    if split == "valid":
        results.sort(key=lambda result: -result.mean_sd("valid", "recall@20")[0])
    print("\n".join(format_table(results, METRICS, split)))
    report = write_study_report(options.out, results, METRICS, split)
    print(f"\nstudy folder  {options.out}\nreport        {report}")
