"""The typed configuration of a run: one YAML file, `--set key=value`, and their validation.

Sections are frozen dataclasses with a line of help under each field; a backbone's or alignment's
own options come from its constructor. Unknown keys are refused with the nearest known one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import NonNegativeInt, TypeAdapter
from pydantic.dataclasses import dataclass

from .align import ALIGNERS
from .align.term_options import TERM_OPTIONS
from .datasets import DataOptions
from .errors import ConfigError, unknown_name
from .evaluation import EvaluationOptions
from .evidence.options import EvidenceOptions
from .graphs import GraphOptions, NeighborOptions
from .models import BACKBONES
from .options import STRICT, Options, checked_option
from .own_parts import absolute, bring_in, import_installed, modules_of
from .registry import Entry, Registry
from .training import TrainingOptions
from .yaml_files import read_yaml, yaml_value


@dataclass(frozen=True, config=STRICT)
class Component(Options):
    """A backbone or an alignment by name, with the options its constructor takes."""

    name: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, config=STRICT)
class RunConfig(Options):
    """Everything that determines a run."""

    path: str = "planted"
    """Data folder or file; `planted` is the built-in data set."""
    data: DataOptions = DataOptions()
    """How the data is read and split."""
    graph: GraphOptions = GraphOptions()
    """Item-item graphs."""
    neighbors: NeighborOptions = NeighborOptions()
    """Co-occurrence neighbours."""
    backbone: Component = dataclasses.field(default_factory=lambda: _default_backbone())
    """Recommender; its options stand beside its name."""
    alignment: Component | None = None
    """Alignment, or none."""
    training: TrainingOptions = TrainingOptions()
    """Optimisation and early stopping."""
    evaluation: EvaluationOptions = EvaluationOptions()
    """Metrics."""
    start_from: str | None = None
    """Run folder to start from: ids are matched, known rows and moments kept (`--from`)."""
    refit_of: str | None = None
    """Run folder whose configuration this run repeats on all rows (`--refit`)."""
    evidence: EvidenceOptions = EvidenceOptions()
    """What is added to the scores of the trained model."""
    cache_dir: str | None = None
    """Folder that keeps built graphs; they are found by a hash of data and options, so a stale
    one is never used."""
    seed: NonNegativeInt = 0
    """Seed of initialisation, sampling and pruning."""
    imports: tuple[str, ...] = ()
    """Files (`my_parts.py`) and modules with backbones and alignments of your own."""


SECTIONS: dict[str, type[Options]] = {
    cls.section: cls
    for cls in (
        DataOptions,
        GraphOptions,
        NeighborOptions,
        TrainingOptions,
        EvaluationOptions,
        EvidenceOptions,
    )
}
OWN = "; one of your own is given with --import my_parts.py"
COMPONENTS: dict[str, Registry[Any]] = {"backbone": BACKBONES, "alignment": ALIGNERS}


def _default_backbone() -> Component:
    return Component("lightgcn", component_options("backbone", BACKBONES["lightgcn"], {}))


def load_config(
    file: str | Path | Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    *,
    imports: Sequence[str] = (),
    **known: Any,
) -> RunConfig:
    """Read a YAML file, then `known` values that are not None, then `key=value` overrides.

    Args:
        file: YAML file, or what is in it, or None for the defaults.
        overrides: `section.key=value`; values are YAML.
        imports: files and modules with own parts, beside those that the file names.
        known: values by key, e.g. `path`, `seed`, `backbone` (a name), or `section.option`.

    Raises:
        ConfigError: a file is missing or malformed, a key unknown, a value out of range.
    """
    data = Path(str(known.get("path", "")))
    if data.suffix in (".yaml", ".yml"):
        raise ConfigError(f"{data} is a configuration, not data: give it with --config")
    raw = dict(file) if isinstance(file, Mapping) else read_yaml(file)
    for key, value in known.items():
        if value is not None:
            _set(raw, key, value)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise ConfigError(f"--set {override}: write it as key=value")
        _set(raw, key.strip(), yaml_value(text, override))
    if imports:
        names = {Path(source).name for source in imports}  # they may have moved since
        kept = [s for s in _sources(raw.get("imports")) if Path(s).name not in names]
        raw["imports"] = [*kept, *imports]
    return parse_config(raw)


def parse_config(raw: Mapping[str, Any]) -> RunConfig:
    """Validate nested plain values into a `RunConfig`. Raises `ConfigError` in one line."""
    fields = {field.name for field in dataclasses.fields(RunConfig)}
    values: dict[str, Any] = {}
    imports = _import(raw.get("imports"))
    for key, value in raw.items():
        if key not in fields:
            raise unknown_name("option", key, fields)
        if key in SECTIONS:
            values[key] = _section(key, value)
        elif key in COMPONENTS:
            values[key] = _component(key, value, imports)
        else:
            values[key] = value
    used = [COMPONENTS[key][part.name].cls for key in COMPONENTS if (part := values.get(key))]
    values["imports"] = tuple(dict.fromkeys([*imports, *modules_of(used, import_installed())]))
    return RunConfig(**values)


def _import(value: Any) -> list[str]:
    """Bring in the parts that a configuration names, and those of installed packages."""
    sources = list(map(absolute, _sources(value)))
    bring_in(sources)
    return sources


def _sources(value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ConfigError(f"option 'imports' is {value!r}: write a list, as in [my_parts.py]")
    return [str(source) for source in value]


def to_plain(config: RunConfig) -> dict[str, Any]:
    """The configuration as plain values, with every default written out; inverse of parsing."""
    plain: dict[str, Any] = TypeAdapter(RunConfig).dump_python(config, mode="json")
    for key in COMPONENTS:
        component = plain[key]
        plain[key] = {"name": component["name"], **component["options"]} if component else "none"
    return plain


def to_yaml(config: RunConfig) -> str:
    """The configuration as YAML text that `load_config` reads back to an equal one."""
    return yaml.safe_dump(to_plain(config), sort_keys=False)


class OptionHelp(NamedTuple):
    """One line of `--help`."""

    key: str
    default: str
    help: str


def option_help() -> Iterator[OptionHelp]:
    """Every option of a run with its default and help, sections and components included."""
    import_installed()
    for key in ("path", "start_from", "refit_of", "cache_dir", "seed", "imports"):
        yield OptionHelp(key, str(getattr(RunConfig(), key)), _describe(RunConfig, key))
    for section, cls in SECTIONS.items():
        for option in section_help(cls):
            yield option._replace(key=f"{section}.{option.key}")
    for kind, registry in COMPONENTS.items():
        for name in registry.names():
            for taken in registry[name].options().values():
                yield OptionHelp(f"{kind}.{taken.name} [{name}]", str(taken.default), taken.help)


def section_help(cls: type[Options]) -> Iterator[OptionHelp]:
    """Every option of one class of options, with its default and help."""
    defaults = cls()
    for field in dataclasses.fields(cls):
        default = getattr(defaults, field.name)
        yield OptionHelp(field.name, str(default), _describe(cls, field.name))


def _describe(cls: Any, field: str) -> str:
    return " ".join((cls.__pydantic_fields__[field].description or "").split())


def _section(key: str, value: Any) -> Any:
    if isinstance(value, SECTIONS[key]):
        return value
    if not isinstance(value, Mapping):
        raise ConfigError(f"option '{key}' must be a mapping of its options, not {value!r}")
    return SECTIONS[key](**{str(name): item for name, item in value.items()})


def _component(key: str, value: Any, imports: Sequence[str] = ()) -> Component | None:
    if value is None or value == "none" or isinstance(value, Component):
        return None if value == "none" else value
    if not isinstance(value, str | Mapping):
        raise ConfigError(f"option '{key}' must be a name or a mapping with one, not {value!r}")
    given = {"name": value} if isinstance(value, str) else dict(value)
    name = given.pop("name", None)
    if name == "none":
        return None
    if name is None:
        raise ConfigError(f"option '{key}' needs a name: choose from {COMPONENTS[key].names()}")
    if name not in COMPONENTS[key]:
        hint = f"; {', '.join(imports)} registers none of this name" if imports else OWN
        raise ConfigError(f"{unknown_name(key, name, COMPONENTS[key].names())}{hint}")
    return Component(name, component_options(key, COMPONENTS[key][name], given))


def component_options(kind: str, entry: Entry[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a component: the given ones validated by their type, defaults for the rest."""
    options = entry.options()
    for name in given:
        if name not in options:
            raise unknown_name(f"option of {kind} '{entry.name}'", name, options)
    defaults = {name: option.default for name, option in options.items()}
    return defaults | _checked_options(kind, COMPONENTS[kind], entry, given)


def _checked_options(
    where: str, registry: Registry[Any], entry: Entry[Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """The given options of a component by their types, and so on inside those it is made of."""
    options, values = entry.options(), dict(given)
    for name in given.keys() & options.keys():
        values[name] = checked_option(f"{where}.{name}", options[name].type, given[name])
    inner: str = getattr(entry.cls, "components", "")
    if inner in given:
        parts = (_inner_component(f"{where}.{inner}", registry, part) for part in values[inner])
        values[inner] = tuple(parts)
    return values


def _inner_component(
    where: str, registry: Registry[Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """A component that is part of another one; its names are checked where it is made."""
    if given.get("name") not in registry:
        return dict(given)
    where = f"{where}.{given['name']}"
    values = _checked_options(where, registry, registry[given["name"]], given)
    return values | {
        name: checked_option(f"{where}.{name}", TERM_OPTIONS[name], values[name])
        for name in TERM_OPTIONS.keys() & values.keys()
    }


def _set(raw: dict[str, Any], key: str, value: Any) -> None:
    """Put `value` at the dotted `key`; setting a component's option keeps its name."""
    *parents, last = key.split(".")
    for parent in parents:
        current = raw.get(parent)
        if isinstance(current, str):
            current = {"name": current}
        elif current is None and parent == "backbone":
            current = {"name": RunConfig().backbone.name}
        if not isinstance(current, Mapping | None):
            raise ConfigError(f"option '{key}': '{parent}' is {current!r} and has no options")
        raw[parent] = dict(current or {})
        raw = raw[parent]
    if not parents and key in COMPONENTS and isinstance(raw.get(key), Mapping):
        same = raw[key].get("name") == value
        value = {**(raw[key] if same else {}), "name": value}
    raw[last] = value
