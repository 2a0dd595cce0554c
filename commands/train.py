"""`crossalign train`, `crossalign evaluate` and `crossalign evidence`."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..run_files import BEFORE, CONFIG_FILE, REPORT_FILE
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
from .parser import Commands
from .training_run import asked, default_folder, metric_table, show_run

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from ..evaluation import BlockScorer
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
    request = asked(options)
    config, resume = request.config, options.resume is not None
    if resume:
        require_data(folder, config.path)
    else:
        folder = Path(options.out or default_folder(config))
    with started_team(config.training.torch_device()) as team:
        if not team.first:
            assist(config, folder, team, resume=resume)
            return
        with told(__name__):  # a stream that cannot be written ends no training
            for line in request.why:
                logger.info(line)
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


def evaluate(options: argparse.Namespace) -> None:
    """Print the metrics of a run on one split."""
    from ..evaluation import evaluate
    from ..pipeline import load_run
    from ..run_measures import representations, run_scores

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
    from ..run_files import CONFIG_FILE
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
