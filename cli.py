"""The `crossalign` command: parse, call the pipeline, print.

Heavy imports happen inside the commands, so that `--help` and `doctor` answer at once and even
where a dependency is broken.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from .errors import ConfigError, CrossalignError

if TYPE_CHECKING:
    from .config import RunConfig
    from .study import Method

USER_ERROR = 2
STUDY_METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0, 2 for errors the user can mend, 130 when interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        options = _parser().parse_args(given)
        options.command_line = "crossalign " + shlex.join(given)
        options.run(options)
    except CrossalignError as error:
        print(f"crossalign: {error}", file=sys.stderr)
        return USER_ERROR
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("crossalign: interrupted; continue with --resume", file=sys.stderr)
        return 130
    return 0


def _train(options: argparse.Namespace) -> None:
    from .pipeline import train
    from .run_folder import CONFIG_FILE, require_run

    if options.resume is not None:
        folder = require_run(Path(options.resume))
        options.config = options.config or folder / CONFIG_FILE
    else:
        folder = Path(options.out or _default_folder(options))
    config = _run_config(options)
    run = train(
        config,
        folder,
        resume=options.resume is not None,
        progress=not options.quiet,
        command=options.command_line,
    )
    for split, metrics in (("valid", run.valid), ("test", run.test)):
        print(f"\n{split}, {metrics.n_users} users")
        print("\n".join(_metric_table(metrics)))
    if run.directions is not None:
        judged = run.directions
        print(
            f"\ndirections between modalities: {judged.decided} of {judged.items} items decided, "
            f"{judged.share:.1%} of these as planted"
        )
    print(f"\nrun folder  {folder}\nreport      {folder / 'report.html'}")


def _evaluate(options: argparse.Namespace) -> None:
    from .pipeline import evaluate_split, load_run

    config, dataset, backbone = load_run(options.run_folder)
    metrics = evaluate_split(backbone, dataset, options.split, config)
    print(f"{options.split}, {metrics.n_users} users")
    print("\n".join(_metric_table(metrics)))


def _metric_table(metrics: Mapping[str, float]) -> list[str]:
    """Metrics by row, cut-offs by column."""
    names = dict.fromkeys(name.partition("@")[0] for name in metrics)
    cutoffs = dict.fromkeys(name.partition("@")[2] for name in metrics)
    lines = [" " * 10 + "".join(f"{'@' + k:>9s}" for k in cutoffs)]
    for name in names:
        lines.append(f"{name:10s}" + "".join(f"{metrics[f'{name}@{k}']:9.4f}" for k in cutoffs))
    return lines


def _describe(options: argparse.Namespace) -> None:
    from .datasets import describe, load_dataset

    config = _run_config(options)
    print("\n".join(describe(load_dataset(config.path, options=config.data)).lines()))


def _neighbors(options: argparse.Namespace) -> None:
    from .datasets import load_dataset
    from .pipeline import write_neighbors

    config = _run_config(options, {"neighbors.k": options.k})
    dataset = load_dataset(config.path, options=config.data)
    neighbors = write_neighbors(options.out, config, dataset, progress=not options.quiet)
    full = (neighbors.ids >= 0).all(dim=1).float().mean().item()
    print(f"{dataset.n_items} items, k = {options.k}, {full:.1%} have all k neighbours")
    if "recall" in neighbors.metadata:
        print(f"recall against exact counting, on a sample: {neighbors.metadata['recall']:.3f}")
    print(f"written to {options.out}")


def _compare(options: argparse.Namespace) -> None:
    from .config import load_config
    from .study import Method, method_label

    methods = []
    for file in options.configs:
        config = load_config(file, options.set, path=options.data)
        methods.append(Method(method_label(config), config))
    _study(options, methods, split="test")


def _search(options: argparse.Namespace) -> None:
    import yaml

    from .study import grid_methods

    grid = {}
    for entry in options.grid:
        key, equals, values = entry.partition("=")
        if not equals:
            raise ConfigError(f"--grid {entry}: write it as key=value,value")
        grid[key] = [yaml.safe_load(value) for value in values.split(",")]
    _study(options, grid_methods(_run_config(options), grid), split="valid")


def _study(options: argparse.Namespace, methods: list[Method], split: str) -> None:
    from .report import write_study_report
    from .study import format_table, run_study

    results = run_study(
        methods, options.seeds, options.out, jobs=options.jobs, progress=not options.quiet
    )
    if split == "valid":
        results.sort(key=lambda result: -result.mean_sd("valid", "recall@20")[0])
    print("\n".join(format_table(results, STUDY_METRICS, split)))
    report = write_study_report(options.out, results, STUDY_METRICS, split)
    print(f"\nstudy folder  {options.out}\nreport        {report}")


def _demo(options: argparse.Namespace) -> None:
    options.configs = sorted((Path(__file__).parent / "presets" / "planted").glob("*.yaml"))
    options.data, options.set = None, []
    _compare(options)


def _doctor(options: argparse.Namespace) -> None:
    from .doctor import collect

    print("\n".join(collect().lines()))


def _list(options: argparse.Namespace) -> None:
    from .config import COMPONENTS

    for kind, registry in COMPONENTS.items():
        print(f"{kind}s")
        for name in registry.names():
            entry = registry[name]
            print(f"  {name:10s} {entry.summary}\n  {'':10s} {entry.paper}")


def _run_config(options: argparse.Namespace, more: dict[str, object] | None = None) -> RunConfig:
    from .config import load_config

    known = {key: getattr(options, key, None) for key in ("backbone", "alignment", "seed")}
    return load_config(options.config, options.set, path=options.data, **known, **(more or {}))


def _default_folder(options: argparse.Namespace) -> Path:
    config = _run_config(options)
    alignment = f"-{config.alignment.name}" if config.alignment else ""
    data = Path(config.path).name or "data"
    return Path("runs") / f"{data}-{config.backbone.name}{alignment}-seed{config.seed}"


def _seeds(text: str) -> list[int]:
    """Comma-separated seeds; argparse turns the error into its one line."""
    seeds = text.split(",")
    if not all(seed.strip().isdecimal() for seed in seeds):
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of seeds such as 0,1,2")
    return [int(seed) for seed in seeds]


def _positive(text: str) -> int:
    """An integer of at least one."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive integer")
    return int(text)


class _Parser(argparse.ArgumentParser):
    """Reports a wrong command line as one line with exit code 2."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see {self.prog} --help")


class _OptionsHelp(argparse.Action):
    """`--help` of a command that takes a run configuration: every option of it is listed."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from .config import option_help

        parser.print_help()
        print("\noptions for --set and YAML files:")
        for option in option_help():
            print(f"  {option.key} = {option.default}")
            print(textwrap.fill(option.help, 80, initial_indent=" " * 6, subsequent_indent=" " * 6))
        raise SystemExit(0)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="crossalign", description="Multi-modal alignment for any recommender.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    def add(
        name: str, run: Callable[[argparse.Namespace], None], text: str, *, configured: bool = False
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text, add_help=not configured)
        command.set_defaults(run=run)
        if configured:
            command.add_argument(
                "-h", "--help", action=_OptionsHelp, nargs=0, help="show this and all options"
            )
            command.add_argument("--config", metavar="FILE", help="YAML file with options")
            command.add_argument(
                "--set", action="append", default=[], metavar="KEY=VALUE", help="set one option"
            )
        return command

    def add_quiet(command: argparse.ArgumentParser) -> None:
        command.add_argument("--quiet", action="store_true", help="no progress bars")

    def add_study(command: argparse.ArgumentParser, seeds: str) -> None:
        command.add_argument(
            "--seeds", type=_seeds, default=seeds, help=f"comma-separated (default {seeds})"
        )
        command.add_argument(
            "--jobs", type=_positive, default=1, help="processes at a time (default 1)"
        )
        command.add_argument("--out", required=True, metavar="FOLDER", help="study folder")
        add_quiet(command)

    command = add("train", _train, "train a recommender and write a report", configured=True)
    command.add_argument("data", nargs="?", help="data folder or file, or 'planted' (built in)")
    command.add_argument("--backbone", help="backbone name (see crossalign list)")
    command.add_argument("--alignment", help="alignment name, or none")
    command.add_argument("--seed", type=int)
    where = command.add_mutually_exclusive_group()
    where.add_argument("--out", metavar="FOLDER", help="new run folder (default runs/...)")
    where.add_argument("--resume", metavar="FOLDER", help="continue the run in this folder")
    add_quiet(command)

    command = add("evaluate", _evaluate, "full-ranking metrics of a trained run")
    command.add_argument("run_folder", metavar="RUN", help="run folder")
    command.add_argument("--split", choices=["valid", "test"], default="test")

    command = add("describe", _describe, "statistics and warnings of a data set", configured=True)
    command.add_argument("data", nargs="?", help="data folder or file, or 'planted'")

    command = add("neighbors", _neighbors, "write co-occurrence neighbours", configured=True)
    command.add_argument("data", nargs="?", help="data folder or file, or 'planted'")
    command.add_argument("-k", type=_positive, default=10, help="neighbours per item (default 10)")
    command.add_argument("-o", "--out", required=True, metavar="FILE", help="neighbour file, .npz")
    add_quiet(command)

    command = add("compare", _compare, "train several configurations with several seeds")
    command.add_argument("configs", nargs="+", metavar="CONFIG", help="YAML files, one a method")
    command.add_argument("--data", metavar="DATA", help="data to use instead of the files'")
    command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    add_study(command, seeds="0,1,2")

    command = add("search", _search, "grid search, ranked on validation", configured=True)
    command.add_argument("data", nargs="?", help="data folder or file, or 'planted'")
    command.add_argument("--backbone")
    command.add_argument("--alignment")
    command.add_argument(
        "--grid", action="append", default=[], metavar="KEY=V,V", help="values of one option"
    )
    add_study(command, seeds="0")

    add_study(add("demo", _demo, "backbone, FETTLE and CROSS on built-in data"), seeds="0,1,2")
    add("list", _list, "backbones and alignments")
    add("doctor", _doctor, "versions, engines, and what is missing")
    return parser
