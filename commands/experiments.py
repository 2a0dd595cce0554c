"""`crossalign ablate`, `directions`, `sensitivity`, `robustness` and `popularity`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import ConfigError
from .arguments import (
    DATA_HELP,
    NONE,
    add_components,
    add_finished_runs,
    add_set,
    add_study,
    how_to_run,
    name_list,
    number_list,
    option_values,
    positive,
)
from .matrix import add_matrix, compared_configs
from .parser import Commands, run_config
from .studies import table_metrics

if TYPE_CHECKING:
    from ..report.markup import Html
    from ..studies.methods import Method
    from ..studies.study import MethodResult


def add(commands: Commands) -> None:
    """Add the commands."""
    command = commands.add(
        "ablate",
        ablate,
        "train FETTLE or CROSS part by part",
        example="presets/planted/3-lightgcn-cross.yaml --out runs/ablation",
    )
    _add_matrix_study(command)
    command.add_argument(
        "--variants", type=name_list, metavar="A,B", help="only these, such as ILA,CLA,FETTLE"
    )

    command = commands.add(
        "directions",
        directions,
        "train under every rule for directions",
        example="presets/planted/2-lightgcn-fettle.yaml --out runs/directions",
    )
    _add_matrix_study(command)
    _add_metric(command)
    command.add_argument(
        "--policies", type=name_list, metavar="A,B", help="rules (default all), or none"
    )
    command.add_argument("--thetas", type=number_list, metavar="T,T", help="thresholds, or none")
    command.add_argument(
        "--theta-of",
        type=name_list,
        default="source",
        metavar="A,B",
        help="source (default), target, either",
    )

    command = commands.add(
        "robustness",
        robustness,
        "train on missing and noisy content and noisy feedback",
        example="presets/planted/*.yaml --out runs/robustness",
    )
    _add_matrix_study(command)
    _add_metric(command)
    command.add_argument("--corruptions", type=name_list, metavar="A,B", help="default all")
    command.add_argument("--ratios", type=number_list, metavar="R,R", help="default .05,.1,.15,.2")

    _add_sensitivity(commands)
    _add_popularity(commands)


def _add_sensitivity(commands: Commands) -> None:
    command = commands.add(
        "sensitivity",
        sensitivity,
        "vary options of a method",
        example="planted --alignment fettle --out runs/sensitivity",
        configured=True,
    )
    command.add_argument("data", nargs="?", help=DATA_HELP)
    add_components(command)
    command.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="KEY=V,V",
        help="values of one option, the others as they are (default: those of the papers)",
    )
    command.add_argument(
        "--grid", action="append", default=[], metavar="KEY=V,V", help="twice: a heat map of both"
    )
    _add_metric(command)
    add_study(command, seeds="0,1,2")


def _add_popularity(commands: Commands) -> None:
    command = commands.add(
        "popularity",
        popularity,
        "evaluate finished runs by item popularity, without training",
        example="runs/compare --out runs/popularity",
    )
    command.add_argument("--groups", type=positive, default=5, help="of items (default 5)")
    command.add_argument(
        "--by",
        choices=["items", "interactions"],
        default="items",
        help="groups with as many items each (default), or as many interactions",
    )
    add_finished_runs(command)


def _add_matrix_study(command: argparse.ArgumentParser) -> None:
    add_matrix(command)
    add_set(command)
    add_study(command, seeds="0,1,2")


def _add_metric(command: argparse.ArgumentParser) -> None:
    command.add_argument("--metric", help="of tables and curves (default recall@20)")


def ablate(options: argparse.Namespace) -> None:
    """Train every variant; print the table, and what each part adds to the others."""
    from ..report import format_terminal, study_table
    from ..studies.ablation import ablation_methods, ablation_report

    methods = ablation_methods(compared_configs(options), options.variants or ())
    results = _train(options, methods)
    metrics = table_metrics(results)
    print("\n".join(format_terminal(study_table(results, metrics))))
    _write(options, methods, results, ablation_report(results, metrics), "Ablation")


def directions(options: argparse.Namespace) -> None:
    """Train under every rule; print metrics and agreement with planted directions."""
    from ..studies.directions import POLICIES, THETAS, direction_methods, direction_report
    from ..studies.measures import chosen_metric

    policies = POLICIES if options.policies is None else options.policies
    methods = direction_methods(
        compared_configs(options),
        policies=() if policies == [NONE] else policies,
        thetas=THETAS if options.thetas is None else options.thetas,
        theta_of=options.theta_of,
    )
    metric = chosen_metric(methods, options.metric)
    results = _train(options, methods)
    found = direction_report(methods, results, metric)
    _write(options, methods, results, found, "Alignment directions")


def sensitivity(options: argparse.Namespace) -> None:
    """Train at every value; print what validation chooses."""
    from ..studies.measures import chosen_metric
    from ..studies.sensitivity import (
        one_at_a_time,
        sensitivity_methods,
        sensitivity_report,
        two_together,
        usual_options,
    )

    if options.vary and options.grid:
        raise ConfigError("give --vary for options one at a time, or --grid twice, not both")
    config = run_config(options)
    if options.grid:
        varied = two_together(config, option_values("--grid", options.grid))
    else:
        chosen = option_values("--vary", options.vary) if options.vary else usual_options(config)
        varied = one_at_a_time(config, chosen)
    methods = sensitivity_methods(config, varied)
    metric = chosen_metric(methods, options.metric)
    results = _train(options, methods)
    found = sensitivity_report(varied, results, metric)
    _write(options, methods, results, found, "Sensitivity")


def robustness(options: argparse.Namespace) -> None:
    """Train on clean and corrupted data; print what every method loses."""
    from ..studies.measures import chosen_metric
    from ..studies.robustness import (
        CORRUPTIONS,
        RATIOS,
        robustness_methods,
        robustness_report,
    )

    methods = robustness_methods(
        compared_configs(options),
        options.corruptions or CORRUPTIONS,
        RATIOS if options.ratios is None else [ratio for ratio in options.ratios if ratio],
    )
    metric = chosen_metric(methods, options.metric)
    results = _train(options, methods)
    found = robustness_report(methods, results, metric)
    _write(options, methods, results, found, "Robustness")


def popularity(options: argparse.Namespace) -> None:
    """Reload runs; print their metrics by popularity group, and what their lists look like."""
    from ..locks import only_writer
    from ..run_folder import refuse_run_folder
    from ..studies.finished import finished_methods
    from ..studies.popularity import popularity_report
    from ..studies.popularity_page import write_popularity

    refuse_run_folder(options.out)
    with only_writer(options.out):
        found = popularity_report(
            finished_methods(options.folders),
            n_groups=options.groups,
            by=options.by,
            k=options.k,
            split=options.split,
            progress=not options.quiet,
            data=options.moved,
        )
        print("\n".join(found.lines()))
        report = write_popularity(options.out, found, options.command_line)
    print(f"results  {options.out}\nreport   {report}")


class _Report(Protocol):
    def lines(self) -> list[str]: ...

    def to_dict(self) -> dict[str, Any]: ...

    def sections(self) -> Sequence[Html]: ...


def _train(options: argparse.Namespace, methods: Sequence[Method]) -> list[MethodResult]:
    from ..studies.study import run_study

    kind = _kind(options)
    return run_study(methods, options.seeds, options.out, kind=kind, **how_to_run(options))


def _kind(options: argparse.Namespace) -> str:
    """The command, and the metric that its report is about, where one was given."""
    return f"{options.command} {getattr(options, 'metric', None) or ''}".strip()


def _write(
    options: argparse.Namespace,
    methods: Sequence[Method],
    results: Sequence[MethodResult],
    found: _Report,
    title: str,
) -> None:
    """Print a report and write it, with the table of the study, into the study folder."""
    from ..fileio import write_text
    from ..locks import only_writer
    from ..report import study_table, write_study
    from ..studies.study import study_files

    print("\n".join(found.lines()))
    name = {"ablate": "ablation"}.get(options.command, options.command)
    with only_writer(options.out):
        files = study_files(options.out, _kind(options), methods, options.seeds)
        write_text(files.path(f"{name}.json"), json.dumps(found.to_dict(), indent=2) + "\n")
        page = write_study(
            files,
            study_table(results, table_metrics(results)),
            title=title,
            command=options.command_line,
            sections=found.sections(),
        )
    print(f"\nstudy folder  {options.out}\nreport        {page}")
