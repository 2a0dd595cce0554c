"""`crossalign compare`, `crossalign search` and `crossalign demo`: several runs side by side."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError, unknown_name
from .arguments import DATA_HELP, add_components, add_set, add_study, how_to_run, option_values
from .matrix import add_matrix, compared_configs
from .parser import Commands, run_config

if TYPE_CHECKING:
    from ..studies.methods import Method
    from ..studies.study import MethodResult

METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
"""Columns of the tables, as far as the runs have them."""
PRESETS = Path(__file__).parent.parent / "presets"


def add(commands: Commands) -> None:
    """Add the commands."""
    command = commands.add(
        "compare",
        compare,
        "train several methods with several seeds",
        example="presets/planted/*.yaml --seeds 0,1,2 --out runs/compare",
    )
    add_matrix(command)
    command.add_argument(
        "--references",
        metavar="A,B",
        help="rows that any method must beat: popularity, itemknn, contentknn, ials, ease, "
        "contentease, or all",
    )
    command.add_argument(
        "--against",
        metavar="METHOD",
        help="test every method against this one too, such as lightgcn+cross",
    )
    add_set(command)
    add_study(command, seeds="0,1,2")

    command = commands.add(
        "search",
        search,
        "grid search, ranked on validation",
        example="planted --backbone bpr --grid backbone.dim=32,64 --out runs/search",
        configured=True,
    )
    command.add_argument("data", nargs="?", help=DATA_HELP)
    add_components(command)
    command.add_argument(
        "--grid", action="append", default=[], metavar="KEY=V,V", help="values of one option"
    )
    add_study(command, seeds="0")

    command = commands.add(
        "demo",
        demo,
        "backbone, FETTLE and CROSS on built-in data; minutes",
        example="--jobs 2",
    )
    add_study(command, seeds="0,1,2", out="runs/demo")


def compare(options: argparse.Namespace) -> None:
    """Train every method on every data set; print test metrics."""
    from ..studies.methods import compared_methods
    from ..studies.reference_rows import parse_names

    references = [] if options.references is None else parse_names(options.references)
    methods = compared_methods(compared_configs(options))
    against = options.against or ""
    known = [*(method.label for method in methods), *references]
    if against and against not in known:
        raise unknown_name("--against", against, known)
    run_and_print(options, methods, split="test", references=references, against=against)


def search(options: argparse.Namespace) -> None:
    """Train every point of a grid; print validation metrics, best first."""
    from ..studies.methods import grid_methods

    if not options.grid:
        raise ConfigError("nothing to search: give --grid key=value,value")
    grid = option_values("--grid", options.grid)
    run_and_print(options, grid_methods(run_config(options), grid), split="valid")


def demo(options: argparse.Namespace) -> None:
    """Compare the presets of the built-in data."""
    from ..config import load_config
    from ..studies.methods import compared_methods

    configs = [load_config(file) for file in sorted((PRESETS / "planted").glob("*.yaml"))]
    run_and_print(options, compared_methods(configs), split="test")


def run_and_print(
    options: argparse.Namespace,
    methods: Sequence[Method],
    split: str,
    references: Sequence[str] = (),
    against: str = "",
) -> None:
    """Run a study, print its table, and write its report and tables.

    Reference lines come first: what is wrong with the data shows before hours of training.

    Raises:
        StudyError: runs failed; what is finished has been printed and written before.
    """
    from ..locks import only_writer
    from ..report import format_terminal, study_table, write_study
    from ..report.numbers import measure
    from ..report.study_settings import settings_lines
    from ..studies.reference_rows import reference_rows
    from ..studies.study import StudyError, run_study, save_results, study_files

    kind = " ".join([options.command, *references, against and f"against {against}"]).strip()
    lines = []
    if references:
        with only_writer(options.out):
            lines = reference_rows(references, methods, options.out, progress=not options.quiet)
    failure = None
    try:
        results = run_study(methods, options.seeds, options.out, kind=kind, **how_to_run(options))
    except StudyError as error:
        failure, results = error, error.results
    if results:
        metrics = table_metrics(results)
        if split == "valid":
            results.sort(key=lambda result: -measure(result.valid[ranked_by(metrics)]).mean)
        results += lines
        table = study_table(results, metrics, split, against=against)
        differing = settings_lines(table) if split == "test" else []
        with only_writer(options.out):
            files = study_files(options.out, kind, methods, options.seeds)
            save_results(files, results)
            print("\n".join([*format_terminal(table), *differing]))
            report = write_study(files, table, command=options.command_line)
        print(f"\nstudy folder  {options.out}\nreport        {report}")
    if failure is not None:
        raise failure


def table_metrics(results: Sequence[MethodResult]) -> list[str]:
    """Those of `METRICS` that all results have, else all recalls and NDCGs they share."""
    shared = [name for name in results[0].test if all(name in r.test for r in results)]
    usual = [name for name in METRICS if name in shared]
    return usual or [name for name in shared if name.startswith(("recall@", "ndcg@"))]


def ranked_by(metrics: Sequence[str]) -> str:
    """The validation metric that orders a search."""
    return "recall@20" if "recall@20" in metrics else metrics[0]
