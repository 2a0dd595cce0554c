"""`crossalign train`, `crossalign evaluate` and `crossalign evidence`."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import ConfigError
from .arguments import DATA_HELP, add_components, add_out, add_quiet, add_set, add_tensorboard
from .parser import Commands, run_config


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
    add_components(command)
    command.add_argument("--seed", type=int, help="of all draws (default 0)")
    where = command.add_mutually_exclusive_group()
    add_out(where, "new run folder (default runs/...)")
    where.add_argument("--resume", metavar="FOLDER", help="continue the run in this folder")
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
    from ..fileio import read_json
    from ..pipeline import assist, train
    from ..report.opening import next_lines
    from ..run_files import CONFIG_FILE, METRICS_FILE, REPORT_FILE
    from ..run_folder import require_run
    from ..training.distributed import started_team

    if options.resume is not None:
        folder = require_run(Path(options.resume))
        options.config = options.config or folder / CONFIG_FILE
    else:
        folder = Path(options.out or _default_folder(options))
    config = run_config(options)
    resume = options.resume is not None
    with started_team(config.training.torch_device()) as team:
        if not team.first:
            assist(config, folder, team, resume=resume)
            return
        with told("crossalign.pipeline"):
            run = train(
                config,
                folder,
                resume=resume,
                progress=not options.quiet,
                command=options.command_line,
                tensorboard=options.tensorboard,
                team=team,
            )
    went = run.training
    print(f"\nbest epoch {went.best_epoch} of {len(went.history)}", end="")
    waited = f": none was better after it (training.patience = {config.training.patience})"
    print(waited if went.stopped_early else "")
    for split, metrics in (("valid", run.valid), ("test", run.test)):
        print(f"\n{split}, {metrics.n_users} users")
        print("\n".join(metric_table(metrics)))
    if run.directions is not None:
        judged = run.directions
        share = f", {judged.share:.1%} of these as planted" if judged.decided else ""
        print(
            f"\ndirections between modalities: {judged.decided} of {judged.items} items decided"
            + share
        )
    print(f"\nrun folder  {folder}\nreport      {folder / REPORT_FILE}\n")
    facts = read_json(folder / METRICS_FILE)["dataset_facts"]
    went_on = (went.best_epoch, len(went.history))
    print("\n".join(next_lines(config, folder, *went_on, reads=bool(facts["modalities"]))))


def evaluate(options: argparse.Namespace) -> None:
    """Print the metrics of a run on one split."""
    from ..evaluation import evaluate
    from ..pipeline import load_run, representations, run_scores

    folder = options.run_folder
    config, dataset, backbone = load_run(folder)
    if options.without_evidence:
        scores = representations(backbone)
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


def _default_folder(options: argparse.Namespace) -> Path:
    config = run_config(options)
    alignment = f"-{config.alignment.name}" if config.alignment else ""
    data = Path(config.path).name or "data"
    return Path("runs") / f"{data}-{config.backbone.name}{alignment}-seed{config.seed}"
