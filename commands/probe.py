"""`crossalign probe`: what features know, and what a run has made of them."""

from __future__ import annotations

import argparse
import json
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

from ..errors import ConfigError
from ..fileio import require_writable
from .arguments import (
    DATA_HELP,
    add_components,
    add_moved,
    add_out,
    add_quiet,
    add_tensorboard,
    positive,
    seed_list,
)
from .parser import Commands, run_config
from .studies import run_and_print

PROBE_FILE = "probe.json"


def add(commands: Commands) -> None:
    """Add the command."""
    command = commands.add(
        "probe",
        probe,
        "what features know, or what a run has made of them",
        example="--run runs/first",
        configured=True,
    )
    command.add_argument("data", nargs="?", help=DATA_HELP)
    what = command.add_mutually_exclusive_group()
    what.add_argument("--run", dest="run_folder", metavar="RUN", help="probe this run instead")
    what.add_argument(
        "--mask-modality",
        action="store_true",
        help="train with ever more items that lack a modality",
    )
    add_out(command, "folder for results (default: RUN)")
    add_quiet(command)

    features = command.add_argument_group("features of DATA, without training")
    features.add_argument("--split", choices=["valid", "test"], default="test", help="default test")
    features.add_argument(
        "--raw", action="store_true", help="item-CF on features as they are, as published"
    )
    features.add_argument(
        "--shrink", type=_not_negative, default=10.0, help="of item-CF (default 10)"
    )

    run = command.add_argument_group("--run")
    add_moved(run)
    run.add_argument("--clusters", type=positive, default=50, help="of k-means (default 50)")

    mask = command.add_argument_group("--mask-modality")
    add_components(mask)
    mask.add_argument("--ratios", type=_ratios, default=None, help="default 0,.1,.3,.5,.7,.9")
    mask.add_argument("--seeds", type=seed_list, default="0", help="comma-separated (default 0)")
    mask.add_argument("--jobs", type=positive, default=1, help="processes at a time (default 1)")
    add_tensorboard(mask)


def probe(options: argparse.Namespace) -> None:
    """Run the probe that the options choose."""
    trained = options.backbone or options.alignment or options.ratios
    if trained and not options.mask_modality:
        raise ConfigError("--backbone, --alignment and --ratios belong to --mask-modality")
    if options.moved is not None and options.run_folder is None:
        raise ConfigError("--data says where the data of a run lie: give --run")
    if options.run_folder is not None:
        _probe_run(options)
    elif options.mask_modality:
        _mask_modality(options)
    else:
        _probe_features(options)


def _probe_features(options: argparse.Namespace) -> None:
    from ..datasets import load_dataset
    from ..probes import probe_features

    config = run_config(options)
    dataset = load_dataset(config.path, options=config.data)
    with _held(options.out):
        result = probe_features(
            dataset,
            split=options.split,
            normalise=not options.raw,
            shrink=options.shrink,
            progress=not options.quiet,
        )
        _show(result, options.out)


def _probe_run(options: argparse.Namespace) -> None:
    from ..probes.trained import probe_run

    if options.data is not None or options.config is not None or options.set:
        raise ConfigError("a run knows its data and options: give --run RUN without any of them")
    folder = options.out or options.run_folder
    require_writable(folder)
    with _held(folder):
        found = probe_run(options.run_folder, n_clusters=options.clusters, data=options.moved)
        _show(found, folder)


def _mask_modality(options: argparse.Namespace) -> None:
    from ..studies.mask_modality import RATIOS, mask_methods

    if options.out is None:
        raise ConfigError("--mask-modality trains several runs: give --out, a folder for them")
    methods = mask_methods(run_config(options), options.ratios or RATIOS)
    run_and_print(options, methods, split="test")


class _Result(Protocol):
    def lines(self) -> list[str]: ...

    def to_dict(self) -> dict[str, Any]: ...


def _show(result: _Result, folder: str | None) -> None:
    """Print a result, and write it as JSON where there is a folder for it."""
    from ..fileio import write_text

    print("\n".join(result.lines()))
    if folder is not None:
        file = Path(folder) / PROBE_FILE
        write_text(file, json.dumps(result.to_dict(), indent=2) + "\n")
        print(f"\nwritten to {file}")


def _held(folder: str | None) -> AbstractContextManager[None]:
    """The lock of the folder that is written, if there is one."""
    from ..locks import only_writer

    return nullcontext() if folder is None else only_writer(folder)


def _ratios(text: str) -> list[float]:
    """Comma-separated shares."""
    try:
        ratios = [float(ratio) for ratio in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a list such as 0,.3,.5") from None
    if not all(0 <= ratio <= 1 for ratio in ratios) or len(set(ratios)) < len(ratios):
        raise argparse.ArgumentTypeError(f"'{text}' must hold different shares of 0 to 1")
    return ratios


def _not_negative(text: str) -> float:
    """A number of at least zero."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of at least 0")
    return value
