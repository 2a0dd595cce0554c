"""Tables of options, written from the code when the site is built.

A line `<!-- options: alignment cross -->` becomes the table of that component's options, and
`<!-- components: backbone -->` the list of all components of a kind.
"""

from __future__ import annotations

import re
from typing import Any

from crossalign.config import COMPONENTS

MARKER = re.compile(r"<!-- (options|components): (\w+) ?(\w*) -->")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace every marker of a page."""
    return MARKER.sub(_replacement, markdown)


def _replacement(match: re.Match[str]) -> str:
    what, kind, name = match.groups()
    return option_table(kind, name) if what == "options" else component_table(kind)


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
