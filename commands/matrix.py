"""Configurations of a comparison: from a list of files, or backbones times alignments."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError
from .arguments import NONE, name_list

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
        "--defaults", action="store_true", help="where a preset is missing, take the defaults"
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
    if not matrix:
        files = options.configs
        configs = [load_config(file, options.set, path=p) for p in paths for file in files]
    else:
        cells = [(b, a) for b in options.backbones for a in options.alignments or [NONE]]
        configs = [_cell(options, path, *cell) for path in paths for cell in cells]
    if options.evidence is None:
        return configs
    kinds = options.evidence
    return [replace(c, evidence=replace(c.evidence, kind=k)) for c in configs for k in kinds]


def _cell(
    options: argparse.Namespace, path: str | None, backbone: str, alignment: str
) -> RunConfig:
    """The configuration of one backbone with one alignment, from its preset if there is one."""
    from ..align import ALIGNERS
    from ..config import load_config
    from ..models import BACKBONES

    BACKBONES[backbone]  # an unknown name is refused before a missing preset
    aligned = alignment != NONE
    name = f"{backbone}_{ALIGNERS[alignment].name}" if aligned else backbone
    file = _preset(options.presets, path, f"{name}.yaml")
    if file is not None:
        _refuse_other(file, backbone, alignment)
    elif options.defaults:
        file = _preset(options.presets, path, f"{backbone}.yaml")
    else:
        where = f"{options.presets} has no {name}.yaml" if options.presets else "no --presets given"
        raise ConfigError(
            f"no settings for {backbone} with alignment {alignment}: {where}; write one, or take "
            "the defaults with --defaults"
        )
    known = {"path": path, "backbone": backbone, "alignment": alignment}
    return load_config(file, options.set, **known)


def _preset(folder: str | None, data: str | None, name: str) -> Path | None:
    """The preset file `name` for a data set, or for all, if there is one."""
    if folder is None:
        return None
    own = Path(folder) / Path(data).stem if data else Path(folder)
    return next((place / name for place in (own, Path(folder)) if (place / name).is_file()), None)


def _refuse_other(file: Path, backbone: str, alignment: str) -> None:
    """Raise `ConfigError` if a preset is not about what its name says."""
    from ..config import load_config

    found = load_config(file)
    names = (found.backbone.name, found.alignment.name if found.alignment else NONE)
    if names != (backbone, alignment):
        raise ConfigError(f"{file} configures {names[0]} with alignment {names[1]}: rename it")
