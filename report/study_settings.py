"""The settings in which the methods of a study differ: a learning rate may decide a comparison."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from ..errors import RunError
from .run_record import RunRecord
from .study_cells import Block, StudyTable
from .text_table import WIDTH

_NO_SETTING = frozenset({"path", "seed", "cache_dir", "imports"})
"""Top-level keys that say where a run comes from, not how it was trained."""
_FEW = 3
"""Methods that are named where others are 'all others'."""


@dataclass(frozen=True)
class Setting:
    """One option and its values.

    Attributes:
        key: its dotted key.
        methods: value, as text -> labels of the methods that have it.
    """

    key: str
    methods: Mapping[str, tuple[str, ...]]

    def text(self) -> str:
        """Such as `0.001 (lightgcn+cross), 0.003 (all others)`."""
        largest = max(self.methods.values(), key=len)
        few = len(self.methods) < 2 or len(largest) <= _FEW
        return ", ".join(
            f"{value} ({', '.join(labels) if few or labels is not largest else 'all others'})"
            for value, labels in sorted(self.methods.items(), key=lambda item: len(item[1]))
        )


def differing_settings(block: Block) -> list[Setting]:
    """Options that at least two methods have, with different values.

    Options of a backbone or an alignment count only where several have an option of that name.
    Methods are read from the configuration of their first run; reference lines have none.
    """
    plain = {row.label: _options(row.runs[0]) for row in block.rows if not row.reference}
    keys = dict.fromkeys(key for options in plain.values() for key in options)
    found = []
    for key in keys:
        methods: dict[str, tuple[str, ...]] = {}
        for label, options in plain.items():
            if key in options:
                value = options[key]
                methods[value] = (*methods.get(value, ()), label)
        if len(methods) > 1:
            found.append(Setting(key, methods))
    return found


def settings_lines(table: StudyTable) -> list[str]:
    """The same for the terminal, of at most 80 columns; nothing where nothing differs."""
    lines: list[str] = []
    for block in table.blocks:
        found = differing_settings(block)
        where = f" on {block.name}" if len(table.blocks) > 1 else ""
        lines += ["", f"settings that differ{where}"] if found else []
        for setting in found:
            text = f"{setting.key}: {setting.text()}"
            lines += textwrap.wrap(
                text, WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False
            )
    return lines


def _options(run: RunRecord) -> dict[str, str]:
    """Dotted keys of the configuration and their values as text."""
    try:
        plain = yaml.safe_load(run.config) or {}
    except yaml.YAMLError:
        raise RunError(f"the configuration in {run.folder} is damaged: restore it") from None
    pairs = _flat(plain) if isinstance(plain, dict) else ()
    return {key: text for key, text in pairs if key.partition(".")[0] not in _NO_SETTING}


def _flat(plain: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in plain.items():
        if prefix and key == "name":
            continue
        if isinstance(value, dict) and not prefix:
            yield from _flat(value, f"{key}.")
        elif prefix:
            yield f"{prefix}{key}", _text(value)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{key}={_text(item)}" for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "+".join(map(_text, value)) or "none"
    return "none" if value is None else str(value)
