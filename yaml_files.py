"""YAML files and values: small, without repeated keys, and refused in one line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import yaml

from .errors import ConfigError, shorten

MOST_TEXT = 2**20
"""Bytes of a configuration file."""
MOST_VALUES = 10_000
"""In one configuration."""
MOST_REASON = 300
"""Letters of what YAML says of a mistake."""


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice: YAML would take the last one and drop the other."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            written = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else id(key)
            if written in seen:
                raise yaml.YAMLError(f"'{key.value}' stands twice: write it once")
            seen.add(written)
        return super().construct_mapping(node, deep)

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None and _expanded_size(node, {}) > MOST_VALUES:
            raise yaml.YAMLError(f"more than {MOST_VALUES} values: no configuration has so many")
        return node


def _expanded_size(node: yaml.Node, known: dict[int, float]) -> float:
    """Values below `node` and itself, repeated ones (`*name`) counted each time."""
    if id(node) not in known:
        known[id(node)] = math.inf  # a node inside itself has no end
        parts = node.value if isinstance(node, yaml.CollectionNode) else ()
        inner = (one for part in parts for one in (part if isinstance(part, tuple) else (part,)))
        known[id(node)] = 1 + sum(_expanded_size(one, known) for one in inner)
    return known[id(node)]


def read_yaml(name: str | Path | None) -> dict[str, Any]:
    """What a YAML file says, not validated; nothing without one.

    Raises:
        ConfigError: it is missing, too large, not text or not YAML.
    """
    if name is None:
        return {}
    file = Path(name)
    if not file.is_file():
        raise ConfigError(f"configuration file {file} does not exist")
    try:
        if file.stat().st_size > MOST_TEXT:
            raise ConfigError(f"{file} has more than {MOST_TEXT} bytes: it is no configuration")
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read ({error}): write it as UTF-8 text") from None
    value = yaml_value(text, str(file))
    if not isinstance(value, dict | None):
        raise ConfigError(f"{file}: expected 'key: value' lines, found {type(value).__name__}")
    return value or {}


def yaml_value(text: str, where: str) -> Any:
    """A value from YAML text; `where` names it in messages. Raises `ConfigError`."""
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as error:
        reason = " ".join(str(error).split())[:MOST_REASON]
        raise ConfigError(f"{shorten(where)}: not valid YAML: {reason}") from None
