"""Tables of options, written from the code when the site is built.

A line `<!-- options: alignment cross -->` becomes the table of that component's options,
`<!-- options: alignment others -->` a section for each component that has no such line, and
`<!-- components: backbone -->` the list of all components of a kind.
"""

from __future__ import annotations

import re
from typing import Any

from crossalign.config import COMPONENTS

MARKER = re.compile(r"<!-- (options|components): (\w+) ?(\w*) -->")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace every marker of a page."""
    named = {match[3] for match in MARKER.finditer(markdown)}
    return MARKER.sub(lambda match: _replacement(*match.groups(), named), markdown)


def _replacement(what: str, kind: str, name: str, named: set[str]) -> str:
    if what == "components":
        return component_table(kind)
    if name != "others":
        return option_table(kind, name)
    others = [other for other in COMPONENTS[kind].names() if other not in named]
    return "\n\n".join(f"### {other}\n\n{option_table(kind, other)}" for other in others)


def option_table(kind: str, name: str) -> str:
    """Options of one component: name, default, help."""
    rows = ["| option | default | |", "|---|---|---|"]
    for option in COMPONENTS[kind][name].options().values():
        rows.append(f"| `{option.name}` | `{option.default}` | {_cell(option.help)} |")
    return "\n".join(rows)


def component_table(kind: str) -> str:
    """Every component of a kind: name, what it is, paper."""
    rows = ["| name | | paper |", "|---|---|---|"]
    for name in COMPONENTS[kind].names():
        entry = COMPONENTS[kind][name]
        rows.append(f"| `{name}` | {_cell(entry.summary)} | {_cell(entry.paper)} |")
    return "\n".join(rows)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
