"""Configurations of a comparison: from a list of files, or backbones times alignments."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..own_parts import import_installed
from .arguments import NONE, name_list
from .presets import Presets, remarks

if TYPE_CHECKING:
    from ..config import RunConfig


def add_matrix(command: argparse.ArgumentParser) -> None:
    """The options that say what is compared, and on which data."""
    command.add_argument("configs", nargs="*", metavar="CONFIG", help="YAML files, one a method")
    command.add_argument(
        "--backbones", type=name_list, metavar="A,B", help="in place of files: backbones ..."
    )
    command.add_argument(
        "--alignments",
        type=name_list,
        metavar="A,B",
        help="... times alignments, 'none' for the backbone alone",
    )
    command.add_argument(
        "--presets",
        metavar="FOLDER",
        help="where their settings are: <backbone>.yaml and <backbone>_<alignment>.yaml, in a "
        "folder named like the data set if there is one",
    )
    command.add_argument(
        "--defaults",
        action="store_true",
        help="where a preset is missing, take the defaults, and say what they give up",
    )
    command.add_argument(
        "--evidence",
        type=name_list,
        metavar="A,B",
        help="each method with these kinds of evidence, 'none' for its model alone, such as "
        "none,auto",
    )
    command.add_argument(
        "--data",
        action="append",
        metavar="DATA",
        help="data to use instead of the files'; give it again for several data sets",
    )


def compared_configs(options: argparse.Namespace) -> list[RunConfig]:
    """One configuration per method, evidence and data set.

    Raises:
        ConfigError: options contradict each other, or a preset is missing or says otherwise.
    """
    from ..config import load_config

    matrix = options.backbones is not None
    if matrix == bool(options.configs):
        raise ConfigError("give either configuration files or --backbones")
    if not matrix and (options.alignments or options.presets or options.defaults):
        raise ConfigError("--alignments, --presets and --defaults belong to --backbones")
    paths: Sequence[str | None] = options.data or [None]
    own = options.imports
    if not matrix:
        configs = [
            load_config(file, options.set, imports=own, path=path)
            for path in paths
            for file in options.configs
        ]
    else:
        import_installed()
        presets = Presets(options.presets, options.defaults, options.set, own)
        pairs = [(b, a) for b in options.backbones for a in options.alignments or [NONE]]
        cells = [presets.cell(path, *pair) for path in paths for pair in pairs]
        print("".join(f"{line}\n" for line in remarks(cells)), end="")
        configs = [cell.config for cell in cells]
    if options.evidence is None:
        return configs
    kinds = options.evidence
    return [replace(c, evidence=replace(c.evidence, kind=k)) for c in configs for k in kinds]
