"""What a training is asked for on the command line, and what is told of it when it has ended."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..fileio import read_json
from ..run_files import CONFIG_FILE, METRICS_FILE, REPORT_FILE
from .parser import run_config

if TYPE_CHECKING:
    from ..config import RunConfig
    from ..distributed.run import PartsRun
    from ..pipeline import Run

PARTS = ("backbone", "alignment", "neighbors")
"""Sections of a configuration that the data decide where none of them is named."""


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


def metric_table(metrics: Mapping[str, float]) -> list[str]:
    """Metrics by row, cut-offs by column."""
    names = dict.fromkeys(name.partition("@")[0] for name in metrics)
    cutoffs = dict.fromkeys(name.partition("@")[2] for name in metrics)
    lines = [" " * 10 + "".join(f"{'@' + k:>9s}" for k in cutoffs)]
    for name in names:
        lines.append(f"{name:10s}" + "".join(f"{metrics[f'{name}@{k}']:9.4f}" for k in cutoffs))
    return lines


@dataclass(frozen=True)
class Asked:
    """What a training is asked for.

    Attributes:
        config: the whole configuration.
        why: lines on what the data decided, where the command left it to them.
    """

    config: RunConfig
    why: tuple[str, ...] = ()


def asked(options: argparse.Namespace) -> Asked:
    """The configuration of the command line, or of the run this one follows, or of the data.

    Where neither a configuration nor a backbone, alignment or neighbours are named, it is the
    one that `recommend-setup` writes for the data.
    """
    if options.refit is not None or options.start_from is not None or options.resume is not None:
        return Asked(_config_of_a_run(options))
    config = run_config(options)
    named = (options.config, options.backbone, options.alignment)
    if named != (None, None, None) or any(one.lstrip().startswith(PARTS) for one in options.set):
        return Asked(config)
    return _of_the_data(options, config)


def _of_the_data(options: argparse.Namespace, config: RunConfig) -> Asked:
    """What is recommended for the data; options that the command sets go first."""
    from ..config import load_config
    from ..datasets import load_dataset
    from ..tuning.setup import recommend_setup

    choices = recommend_setup(load_dataset(config.path, options=config.data), config)
    recommended: dict[str, Any] = {choice.key: choice.value for choice in choices}
    why = [
        f"  {choice.key} = {choice.value}: {choice.reason}"
        for choice in choices
        if not choice.key.startswith(("path", "data."))
    ]
    return Asked(
        load_config(None, options.set, imports=options.imports, seed=options.seed, **recommended),
        ("no backbone is named, so the data decide (as in recommend-setup):", *why, ""),
    )


def _config_of_a_run(options: argparse.Namespace) -> RunConfig:
    """That of the run which is resumed, repeated, or started from."""
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


def default_folder(config: RunConfig) -> Path:
    """Where a run without `--out` goes."""
    alignment = f"-{config.alignment.name}" if config.alignment else ""
    data = Path(config.path).name or "data"
    kind = "-refit" if config.refit_of else "-next" if config.start_from else ""
    return Path("runs") / f"{data}-{config.backbone.name}{alignment}-seed{config.seed}{kind}"
