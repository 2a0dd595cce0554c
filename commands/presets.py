"""Where the settings of a backbone with an alignment come from: its preset, or that of its base."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from .arguments import NONE

if TYPE_CHECKING:
    from ..config import RunConfig
    from ..registry import Registry

WIDTH = 80


@dataclass(frozen=True)
class Cell:
    """One backbone with one alignment, and its settings.

    Attributes:
        label: its name in messages.
        config: the configuration.
        remark: where the settings come from if not from its own preset, else nothing.
        by_default: whether no preset says its learning rate and the like.
    """

    label: str
    config: RunConfig
    remark: str = ""
    by_default: bool = False


@dataclass(frozen=True)
class Presets:
    """Where to look.

    Attributes:
        folder: folder of presets, or None.
        defaults: whether a missing preset is replaced by the defaults.
        overrides: `key=value`, applied to all.
        imports: files and modules with own parts.
    """

    folder: str | None
    defaults: bool
    overrides: Sequence[str]
    imports: Sequence[str]

    def cell(self, path: str | None, backbone: str, alignment: str) -> Cell:
        """The settings of one backbone with one alignment on one data set.

        Its own preset; else that of the registered parts that it inherits from; else, if asked
        for, the backbone's preset and the defaults.

        Raises:
            ConfigError: a name is unknown, a preset says otherwise, or there is none.
        """
        names = backbone, alignment
        label = backbone if alignment == NONE else f"{backbone}+{alignment}"
        for pair in product(_lineage("backbone", backbone), _lineage("alignment", alignment)):
            file = self._file(path, *pair)
            if file is not None:
                raw = self._read(file, pair, names)
                remark = "" if pair == names else f"{label} takes the settings of {file}"
                return Cell(label, self._load(raw, path), remark)
        if not self.defaults:
            raise self._missing(backbone, alignment)
        file = self._file(path, backbone, NONE)
        raw = {} if file is None else self._read(file, (backbone, NONE), (backbone, NONE))
        raw |= {"alignment": alignment} | ({} if file else {"backbone": backbone})
        parts = f"{file}, and the defaults of {alignment}" if file else "the defaults"
        remark = f"{label} has no preset: it takes {parts}"
        return Cell(label, self._load(raw, path), remark, by_default=file is None)

    def _load(self, raw: Mapping[str, Any], path: str | None) -> RunConfig:
        from ..config import load_config

        return load_config(raw, self.overrides, imports=self.imports, path=path)

    def _file(self, path: str | None, backbone: str, alignment: str) -> Path | None:
        """The preset of a pair for a data set, or for all, if there is one."""
        if self.folder is None:
            return None
        name = f"{backbone}.yaml" if alignment == NONE else f"{backbone}_{alignment}.yaml"
        own = Path(self.folder) / Path(path).stem if path else Path(self.folder)
        places = (own / name, Path(self.folder) / name)
        return next((place for place in places if place.is_file()), None)

    def _read(self, file: Path, about: tuple[str, str], names: tuple[str, str]) -> dict[str, Any]:
        """A preset about one pair, with the names of another that takes its options over."""
        from ..config import COMPONENTS, load_config, read_yaml

        found = load_config(file, imports=self.imports)
        says = found.backbone.name, found.alignment.name if found.alignment else NONE
        if says != about:
            raise ConfigError(f"{file} configures {says[0]} with alignment {says[1]}: rename it")
        raw = read_yaml(file)
        for kind, name in zip(("backbone", "alignment"), names, strict=True):
            given = raw.get(kind)
            if name != NONE and isinstance(given, Mapping):
                taken = COMPONENTS[kind][name].options()
                raw[kind] = {k: v for k, v in given.items() if k in taken} | {"name": name}
            else:
                raw[kind] = name
        return raw

    def _missing(self, backbone: str, alignment: str) -> ConfigError:
        name = backbone if alignment == NONE else f"{backbone}_{alignment}"
        where = f"{self.folder} has no {name}.yaml" if self.folder else "no --presets given"
        return ConfigError(
            f"no settings for {backbone} with alignment {alignment}: {where}; write one, or take "
            "the defaults with --defaults"
        )


def remarks(cells: Sequence[Cell]) -> list[str]:
    """Lines of at most 80 columns: settings that are no preset's own, and what defaults give up."""
    lines: list[str] = []
    for cell in cells:
        if cell.remark:
            others = [c for c in cells if c.config.path == cell.config.path and not c.by_default]
            lost = "; ".join(_given_up(cell, others)) if cell.by_default else ""
            text = f"{cell.remark}, and gives up {lost}" if lost else cell.remark
            lines += textwrap.wrap(text, WIDTH, break_on_hyphens=False, break_long_words=False)
    return lines


def _given_up(cell: Cell, others: Sequence[Cell]) -> Iterator[str]:
    """Such as `training.learning_rate 0.003 (lightgcn), here 0.001`."""
    from ..config import SECTIONS, to_plain

    own, presets = to_plain(cell.config), [(c.label, to_plain(c.config)) for c in others]
    for section in SECTIONS:
        for name, value in own[section].items():
            found: dict[str, list[str]] = {}
            for label, plain in presets:
                if plain[section][name] != value:
                    found.setdefault(str(plain[section][name]), []).append(label)
            if found:
                told = " or ".join(f"{v} ({', '.join(labels)})" for v, labels in found.items())
                yield f"{section}.{name} {told}, here {value}"


def _lineage(kind: str, name: str) -> list[str]:
    """`name`, then the registered parts that it inherits from, nearest first."""
    from ..config import COMPONENTS

    if name == NONE:
        return [NONE]
    registry: Registry[Any] = COMPONENTS[kind]
    bases = registry[name].cls.__mro__[1:]
    names = [other for base in bases for other in registry.names() if registry[other].cls is base]
    return [registry[name].name, *names]
