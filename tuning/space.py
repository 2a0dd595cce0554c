"""What is searched: dotted configuration keys, each with a list of values or a range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import yaml
from optuna.trial import Trial
from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr
from pydantic.dataclasses import dataclass

from ..config import RunConfig, to_plain
from ..errors import ConfigError, unknown_name
from ..options import STRICT, Options
from ..studies.methods import grid_methods

Value: TypeAlias = StrictBool | StrictInt | StrictFloat | StrictStr | None

TUNABLE = ("backbone", "alignment", "training", "graph", "neighbors")
"""Sections that may be searched; the others would change the data or the measure."""
FIXED = ("backbone.name", "alignment.name", "training.monitor", "training.device")


@dataclass(frozen=True, config=STRICT)
class Choice(Options):
    """One of several values."""

    values: Annotated[tuple[Value, ...], Field(min_length=1)]
    """The values; all equally far from each other."""

    def suggest(self, trial: Trial, key: str) -> Any:
        """The value that a trial takes."""
        return trial.suggest_categorical(key, list(self.values))

    def samples(self) -> tuple[Value, ...]:
        """Values whose validity stands for that of all."""
        return self.values

    def contains(self, value: object) -> bool:
        """Whether a trial could take `value`."""
        return value in self.values


@dataclass(frozen=True, config=STRICT)
class Range(Options):
    """Any number between two; whole numbers between whole numbers."""

    low: StrictInt | StrictFloat
    """Lower end, included."""
    high: StrictInt | StrictFloat
    """Upper end, included."""
    log: bool = False
    """Whether equal ratios are equally likely, instead of equal differences."""

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ConfigError(f"a range from {self.low} to {self.high}: low must be below high")
        if self.log and self.low <= 0:
            raise ConfigError(f"a logarithmic range from {self.low}: low must be above zero")

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def suggest(self, trial: Trial, key: str) -> Any:
        """The value that a trial takes."""
        if self.whole:
            return trial.suggest_int(key, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(key, self.low, self.high, log=self.log)

    def samples(self) -> tuple[Value, ...]:
        """Values whose validity stands for that of all."""
        return (self.low, self.high)

    def contains(self, value: object) -> bool:
        """Whether a trial could take `value`."""
        kinds = (int,) if self.whole else (int, float)
        known = isinstance(value, kinds) and not isinstance(value, bool)
        return known and self.low <= value <= self.high  # type: ignore[operator]


Space: TypeAlias = Mapping[str, Choice | Range]


def read_space(file: str | Path) -> dict[str, Choice | Range]:
    """A space from YAML: key -> list of values, or `{low: ..., high: ..., log: true}`.

    Raises:
        ConfigError: the file is missing, or no such mapping.
    """
    file = Path(file)
    if not file.is_file():
        raise ConfigError(f"space file {file} does not exist")
    try:
        raw = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict) or not raw:
        raise ConfigError(f"{file}: expected lines such as 'alignment.ila_weight: [0.001, 0.01]'")
    return {str(key): _dimension(f"{file}, {key}", entry) for key, entry in raw.items()}


def _dimension(where: str, entry: object) -> Choice | Range:
    try:
        if isinstance(entry, list) and entry and all(map(_is_plain, entry)):
            return Choice(tuple(map(_number, entry)))
        if isinstance(entry, dict) and {"low", "high"} <= entry.keys() <= {"low", "high", "log"}:
            return Range(**{name: _number(value) for name, value in entry.items()})
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    raise ConfigError(f"{where}: give a list of values, or {{low: ..., high: ..., log: true}}")


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


def _number(value: Any) -> Any:
    """`1e-5` as the number it is meant to be: YAML 1.1 reads it as a word."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def space_yaml(space: Space) -> str:
    """`space` as text that `read_space` reads."""
    plain = {
        key: list(dimension.values) if isinstance(dimension, Choice) else asdict(dimension)
        for key, dimension in space.items()
    }
    return yaml.safe_dump(plain, sort_keys=False, default_flow_style=None)


def check_space(space: Space, config: RunConfig) -> None:
    """Refuse keys that cannot be searched, and values that the option does not take.

    Raises:
        ConfigError: with the key, in one line.
    """
    if not space:
        raise ConfigError("nothing to search: give a space with at least one key")
    plain = to_plain(config)
    for key, dimension in space.items():
        section = key.partition(".")[0]
        if section not in plain:
            raise unknown_name("option", key, [f"{name}." for name in TUNABLE])
        if section not in TUNABLE or key in FIXED or key.count(".") != 1:
            raise ConfigError(f"'{key}' cannot be searched: choose options of {', '.join(TUNABLE)}")
        if not isinstance(plain[section], dict):
            raise ConfigError(f"'{key}' cannot be searched: the configuration has no {section}")
        for value in dimension.samples():
            config_at(config, {key: value})


def config_at(config: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """`config` with the dotted keys of `values` replaced."""
    return grid_methods(config, {key: [value] for key, value in values.items()})[0].config
