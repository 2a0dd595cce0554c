"""`crossalign train`, `crossalign evaluate` and `crossalign evidence`."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..fileio import read_json
from ..run_files import BEFORE, CONFIG_FILE, METRICS_FILE, REPORT_FILE
from .arguments import (
    DATA_HELP,
    add_components,
    add_moved,
    add_out,
    add_quiet,
    add_set,
    add_tensorboard,
    positive,
)
from .parser import Commands, run_config

if TYPE_CHECKING:
    from ..config import RunConfig
    from ..distributed.run import PartsRun
    from ..evaluation import BlockScorer
    from ..pipeline import Run
    from ..tensors.representations import Representations


def add(commands: Commands) -> None:
    """Add the commands."""
    command = commands.add(
        "train",
        train,
        "train a recommender and write a report",
        example="planted --backbone lightgcn --alignment cross --out runs/first",
        configured=True,
    )
    command.set_defaults(shared=True)
    command.add_argument("data", nargs="?", help=DATA_HELP)
    command.add_argument("--parts", metavar="FOLDER", help="train on a partition of the data")
    command.add_argument(
        "--hosts", metavar="FILE", help="a host for each part: addresses, or local:2"
    )
    command.add_argument("--trainers", type=positive, help="processes on each host (default 1)")
    add_components(command)
    command.add_argument("--seed", type=int, help="of all draws (default 0)")
    where = command.add_mutually_exclusive_group()
    add_out(where, "new run folder (default runs/...)")
    where.add_argument("--resume", metavar="FOLDER", help="continue the run in this folder")
    after = command.add_mutually_exclusive_group()
    after.add_argument(
        "--from",
        dest="start_from",
        metavar="RUN",
        help="start where this run ended, with its configuration, on newer data",
    )
    after.add_argument(
        "--refit",
        metavar="RUN",
        help="repeat this run on all rows for its best number of epochs, nothing held out",
    )
    command.add_argument(
        "--anew",
        action="store_true",
        help="with --resume: begin at the first epoch; what the folder holds is kept inside it",
    )
    add_moved(command)
    add_tensorboard(command)
    add_quiet(command)

    command = commands.add(
        "evaluate",
        evaluate,
        "full-ranking metrics of a trained run",
        example="runs/first --split test",
    )
    command.add_argument("run_folder", metavar="RUN", help="run folder")
    command.add_argument("--split", choices=["valid", "test"], default="test", help="default test")
    add_moved(command)
    command.add_argument(
        "--without-evidence", action="store_true", help="of the model alone, where a run adds to it"
    )

    command = commands.add(
        "evidence",
        evidence,
        "add evidence to a finished run, without training",
        example="runs/first --out runs/first-evidence",
    )
    command.add_argument("run_folder", metavar="RUN", help="run folder")
    command.add_argument(
        "--kind",
        metavar="KIND",
        default="auto",
        help="such as cooccurrence, ease or allocation+ease (see crossalign list); auto (default) "
        "is chosen on validation",
    )
    add_set(command)
    add_out(command, "new run folder", required=True)
    add_quiet(command)


def train(options: argparse.Namespace) -> None:
    """Train, print the metrics, and say where everything is."""
    if options.parts is not None:
        from .train_parts import train_on_parts

        train_on_parts(options)
        return
    if options.hosts or options.trainers:
        raise ConfigError("--hosts and --trainers need the folder of a partition: give --parts")
    from ..pipeline import assist, train
    from ..run_folder import require_data, require_run
    from ..training.distributed import started_team

    if options.moved is not None:
        if options.data is not None:
            raise ConfigError("the data are named twice: give DATA or --data")
        options.data = options.moved
    if options.anew and options.resume is None:
        raise ConfigError("--anew begins a run anew that is there: name its folder with --resume")
    if options.resume is not None:
        folder = require_run(Path(options.resume))
        options.config = options.config or folder / CONFIG_FILE
    else:
        folder = Path(options.out or default_folder(options))
    config = _config(options)
    resume = options.resume is not None
    if resume:
        require_data(folder, config.path)
    with started_team(config.training.torch_device()) as team:
        if not team.first:
            assist(config, folder, team, resume=resume)
            return
        with told("crossalign.pipeline"):
            run = train(
                config,
                folder,
                resume="anew" if options.anew else resume,
                progress=not options.quiet,
                command=options.command_line,
                tensorboard=options.tensorboard,
                team=team,
            )
    show_run(run, config)
    if options.anew:
        kept = len(list(folder.glob(f"{BEFORE}*")))
        print(f"\nbefore      {folder / BEFORE}{kept}, kept as it was")


def show_run(run: Run | PartsRun, config: RunConfig) -> None:
    """Print the metrics of a run that has ended, where everything is, and what may come next."""
    from ..report.opening import next_lines

    folder = run.folder
    went = run.training
    if not run.test:
        print(f"\n{went.best_epoch} epochs on all rows, nothing held out and nothing measured")
    else:
        _print_measured(run, config)
    if config.start_from is not None or config.refit_of is not None:
        print("\n".join(_origin(read_json(folder / METRICS_FILE))))
    judged = getattr(run, "directions", None)
    if judged is not None:
        share = f", {judged.share:.1%} of these as planted" if judged.decided else ""
        print(
            f"\ndirections between modalities: {judged.decided} of {judged.items} items decided"
            + share
        )
    print(f"\nrun folder  {folder}\nreport      {folder / REPORT_FILE}\n")
    facts = read_json(folder / METRICS_FILE)["dataset_facts"]
    went_on = (went.best_epoch, len(went.history))
    print("\n".join(next_lines(config, folder, *went_on, reads=bool(facts["modalities"]))))


def _print_measured(run: Run | PartsRun, config: RunConfig) -> None:
    went = run.training
    print(f"\nbest epoch {went.best_epoch} of {len(went.history)}", end="")
    waited = f": none was better after it (training.patience = {config.training.patience})"
    print(waited if went.stopped_early else "")
    for split, metrics in (("valid", run.valid), ("test", run.test)):
        print(f"\n{split}, {metrics.n_users} users")
        print("\n".join(metric_table(metrics)))


def _origin(summary: Mapping[str, Any]) -> Iterator[str]:
    """What a run took from an earlier one."""
    if "measured_on" in summary:
        yield f"\nscores of {summary['measured_on']['run']}, which held rows out:"
        yield from metric_table(
            {name: value for name, value in summary["test"].items() if "@" in name}
        )
    if "started_from" in summary:
        start = summary["started_from"]
        yield f"\nstarted from {start['run']}"
        for side in ("users", "items"):
            counts = start[side]
            placed = f", placed by {counts['new_placed_by']}" if counts["new"] else ""
            yield (
                f"{side}: {counts['known']} known, {counts['new']} new{placed}, "
                f"{counts['gone']} gone"
            )
        if start["lists_moved@20"] is not None:
            yield (
                f"lists of {start['unchanged_users']} users of whom nothing new is known: "
                f"{start['lists_moved@20']:.1%} of 20 items are others now"
            )


def evaluate(options: argparse.Namespace) -> None:
    """Print the metrics of a run on one split."""
    from ..evaluation import evaluate
    from ..pipeline import load_run, representations, run_scores

    folder = options.run_folder
    config, dataset, backbone = load_run(folder, options.moved)
    if options.without_evidence:
        scores: Representations | BlockScorer = representations(backbone)
    else:
        scores = run_scores(folder, config, dataset, backbone)
    metrics = evaluate(scores, dataset, options.split, config.evaluation.ks)
    print(f"{options.split}, {metrics.n_users} users")
    print("\n".join(metric_table(metrics)))


@contextmanager
def told(name: str) -> Iterator[None]:
    """Print what the logger `name` has to tell, until the block ends."""
    logger, handler = logging.getLogger(name), logging.StreamHandler(sys.stdout)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def evidence(options: argparse.Namespace) -> None:
    """Write the run with evidence; print what was chosen, and metrics with it and without."""
    from ..config import load_config
    from ..evidence.of_run import WITHOUT
    from ..run_files import CONFIG_FILE, REPORT_FILE
    from ..run_folder import require_run
    from ..studies.add_evidence import add_evidence

    folder = require_run(Path(options.run_folder))
    kind = [f"evidence.kind={options.kind}"]
    _refuse_other_sections(options.set)
    wanted = load_config(folder / CONFIG_FILE, [*kind, *options.set]).evidence
    found = add_evidence(
        folder,
        options.out,
        wanted,
        progress=not options.quiet,
        command=options.command_line,
    )
    chosen = found.more["evidence"]
    print(f"{chosen['kind']}, weight {chosen['weight']:g}, {chosen['candidates']} candidates")
    for split, metrics in (("valid", found.valid), ("test", found.test)):
        print(f"\n{split}, {metrics.n_users} users, without evidence")
        alone = found.more[WITHOUT][split]
        print("\n".join(metric_table({name: alone[name] for name in metrics})))
        print(f"\n{split}, {metrics.n_users} users, with it")
        print("\n".join(metric_table(metrics)))
    print(f"\nrun folder  {options.out}\nreport      {Path(options.out) / REPORT_FILE}")


def _refuse_other_sections(overrides: Sequence[str]) -> None:
    """Raise `ConfigError` for `--set` of anything but evidence: the run is trained already."""
    for override in overrides:
        if not override.strip().startswith("evidence."):
            raise ConfigError(f"--set {override}: the run is trained, set options of evidence only")


def metric_table(metrics: Mapping[str, float]) -> list[str]:
    """Metrics by row, cut-offs by column."""
    names = dict.fromkeys(name.partition("@")[0] for name in metrics)
    cutoffs = dict.fromkeys(name.partition("@")[2] for name in metrics)
    lines = [" " * 10 + "".join(f"{'@' + k:>9s}" for k in cutoffs)]
    for name in names:
        lines.append(f"{name:10s}" + "".join(f"{metrics[f'{name}@{k}']:9.4f}" for k in cutoffs))
    return lines


def _config(options: argparse.Namespace) -> RunConfig:
    """The configuration that is asked for: a new one, or that of the run this one follows."""
    from ..renewal.refit import refit_config
    from ..run_folder import require_run

    if options.refit is not None:
        given = ("config", "set", "backbone", "alignment", "seed", "resume")
        odd = [name for name in given if getattr(options, name) not in (None, [])]
        if odd:
            raise ConfigError(f"--refit repeats a run as it was: leave --{odd[0]} out")
        return refit_config(options.refit, options.data)
    if options.start_from is None:
        return run_config(options)
    if options.resume is not None:
        raise ConfigError("--resume goes on with what the run started from: leave --from out")
    options.config = options.config or require_run(Path(options.start_from)) / CONFIG_FILE
    return run_config(options, {"start_from": options.start_from, "refit_of": None})


def default_folder(options: argparse.Namespace) -> Path:
    """Where a run without `--out` goes."""
    config = _config(options)
    alignment = f"-{config.alignment.name}" if config.alignment else ""
    data = Path(config.path).name or "data"
    kind = "-refit" if config.refit_of else "-next" if config.start_from else ""
    return Path("runs") / f"{data}-{config.backbone.name}{alignment}-seed{config.seed}{kind}"
