"""The methods of a study: configurations with labels, and what each is compared with."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..config import COMPONENTS, SECTIONS, RunConfig, parse_config, to_plain
from ..errors import ConfigError
from ..evidence.options import NONE, EvidenceOptions


@dataclass(frozen=True)
class Method:
    """A labelled configuration; its seed is replaced by each of the study's seeds.

    Attributes:
        label: name, unique among the methods on the same data.
        config: what to train.
        base: label of the method it is compared with, on the same data; None for no comparison.
        data: name of the data set in a study of several; a folder of that name holds the runs.
    """

    label: str
    config: RunConfig
    base: str | None = None
    data: str = ""


def without_evidence(config: RunConfig) -> RunConfig:
    """The same, with the model's scores alone."""
    return replace(config, evidence=EvidenceOptions())


def grid_methods(base: RunConfig, grid: Mapping[str, Sequence[Any]]) -> list[Method]:
    """One method per point of a grid over configuration keys.

    Args:
        base: configuration that the grid varies.
        grid: dotted key -> values, e.g. `{"alignment.ila_weight": [1e-3, 1e-2]}`.

    Raises:
        ConfigError: there is no such option or value.
    """
    methods = []
    for point in itertools.product(*grid.values()):
        plain = to_plain(base)
        for key, value in zip(grid, point, strict=True):
            option_value(base, key)
            section, _, name = key.partition(".")
            plain[section][name] = value
        label = ",".join(f"{k.split('.')[-1]}={v}" for k, v in zip(grid, point, strict=True))
        methods.append(Method(label or "base", parse_config(plain)))
    return methods


def option_value(
    config: RunConfig, key: str, sections: Sequence[str] = (*SECTIONS, *COMPONENTS)
) -> Any:
    """The value of an option; None for one that its section does not have.

    Args:
        config: the configuration.
        key: dotted key of the option.
        sections: those whose options may be varied.

    Raises:
        ConfigError: the key is not that of an option that may be varied.
    """
    plain = to_plain(config)
    has = [name for name in sections if isinstance(plain[name], dict)]
    section, _, name = key.partition(".")
    if section not in has or not name:
        unset = section in sections and section not in has
        hint = f"no {section} is set" if unset else f"name an option of {', '.join(has)}"
        raise ConfigError(f"'{key}' cannot be varied: {hint}")
    if section in COMPONENTS and name == "name":
        raise ConfigError(f"'{key}' cannot be varied: crossalign compare compares {section}s")
    return plain[section].get(name)


def compared_methods(configs: Sequence[RunConfig]) -> list[Method]:
    """Methods to compare, each with the same less its last part where that takes part.

    One with evidence is compared with the same without it, an aligned one with its backbone.

    Configurations that name several data sets are compared data set by data set. Several of one
    backbone and alignment are told apart by the options in which they differ.

    Raises:
        ConfigError: two data sets have the same name.
    """
    data = _data_names(configs)
    labels = [
        (data[config.path], label) for config, label in zip(configs, _labels(configs), strict=True)
    ]
    return [
        Method(label, config, _base(config, name, labels), name)
        for (name, label), config in zip(labels, configs, strict=True)
    ]


def _base(config: RunConfig, data: str, labels: Sequence[tuple[str, str]]) -> str | None:
    """What a method is compared with, the first of these that takes part."""
    alone = replace(config, alignment=None)
    less = [without_evidence(config), alone, without_evidence(alone)]
    wanted = [method_label(other) for other in less if other != config]
    return next((label for label in wanted if (data, label) in labels), None)


def _data_names(configs: Sequence[RunConfig]) -> dict[str, str]:
    """Path -> name of the data set; an empty name where there is only one."""
    paths = list(dict.fromkeys(config.path for config in configs))
    if len(paths) == 1:
        return {paths[0]: ""}
    names = {path: Path(path).stem for path in paths}
    if len(set(names.values())) < len(names):
        raise ConfigError(f"two data sets among {paths} have the same name: rename a folder")
    return names


def _labels(configs: Sequence[RunConfig]) -> list[str]:
    """Labels of methods, with `-option=value` behind those that are several of one data set."""
    groups: dict[tuple[str, str], list[int]] = {}
    for place, config in enumerate(configs):
        groups.setdefault((config.path, method_label(config)), []).append(place)
    labels = [method_label(config) for config in configs]
    for places in groups.values():
        options = [_flat({**to_plain(configs[place]), "imports": 0}) for place in places]
        for place, own in zip(places, options, strict=True):
            other = [key for key in own if any(own[key] != o.get(key) for o in options)]
            told = ",".join(f"{key.rpartition('.')[2]}={own[key]}" for key in other)
            labels[place] += f"-{re.sub(r'[^A-Za-z0-9_=.,+-]', '', told)}" if told else ""
    return labels


def _flat(plain: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options by their dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in plain.items():
        flat |= (
            _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        )
    return flat


def method_label(config: RunConfig) -> str:
    """`backbone`, `backbone+alignment`, and `+evidence` behind them where it is added."""
    alignment = f"+{config.alignment.name}" if config.alignment else ""
    evidence = f"+{EvidenceOptions.section}" if config.evidence.kind != NONE else ""
    return config.backbone.name + alignment + evidence
