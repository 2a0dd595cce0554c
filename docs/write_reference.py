"""Write `options.md` and `reference.md` from the code: `python docs/write_reference.py`.

They are for reading where the code is read, on a terminal or in the repository's pages; the site
has the same in `api.md`. A test compares them with the code.
"""

from __future__ import annotations

import importlib
import inspect
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crossalign.config import COMPONENTS, SECTIONS, option_help
from crossalign.datasets import FORMATS
from crossalign.options import Options
from crossalign.references import REFERENCES

DOCS = Path(__file__).parent
HOOKS = runpy.run_path(str(DOCS / "hooks.py"))
NOTE = (
    "<!-- Written from the code by `python docs/write_reference.py`: change the code, not this. -->"
)
ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def main() -> None:
    """Write both pages."""
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """Name of a page -> its text."""
    return {
        "options.md": "\n\n".join(_options()) + "\n",
        "reference.md": "\n\n".join(_reference()) + "\n",
    }


def _options() -> Iterator[str]:
    yield f"# Options\n\n{NOTE}"
    yield (
        "Every option of a run, with its default. On the command line they are set by "
        "`--set section.option=value`, in a YAML file below their section. `crossalign train "
        "--help` prints the same list for the installed version."
    )
    own = [option for option in option_help() if "." not in option.key]
    yield f"## Of the run\n\n{_rows(own)}"
    for section in SECTIONS:
        found = [o for o in option_help() if o.key.startswith(f"{section}.")]
        short = [o._replace(key=o.key.removeprefix(f"{section}.")) for o in found]
        if section not in COMPONENTS:
            yield f"## {section}\n\n{_rows(short)}"
    for kind, registry in COMPONENTS.items():
        yield f"## {kind}: its options by name\n\n{HOOKS['component_table'](kind)}"
        for name in registry.names():
            if registry[name].options():
                yield f"### {kind} {name}\n\n{HOOKS['option_table'](kind, name)}"
    layouts = {name: layout.expects for name, layout in FORMATS.items()}
    yield f"## Data layouts\n\n{_names('`data.format`', 'files', layouts)}"
    references = {name: REFERENCES[name].summary for name in REFERENCES.names()}
    yield f"## Reference lines of `compare`\n\n{_names('name', '', references)}"


def _names(head: str, about: str, entries: dict[str, str]) -> str:
    cells = {name: HOOKS["_cell"](text).replace("<", "&lt;") for name, text in entries.items()}
    rows = [f"| `{name}` | {text} |" for name, text in cells.items()]
    return "\n".join([f"| {head} | {about} |", "|---|---|", *rows])


def _rows(options: list[Any]) -> str:
    rows = [f"| `{o.key}` | `{o.default}` | {HOOKS['_cell'](o.help)} |" for o in options]
    return "\n".join(["| option | default | |", "|---|---|---|", *rows])


def _reference() -> Iterator[str]:
    """The objects of `api.md` under its headings, as text."""
    yield f"# The Python interface, as text\n\n{NOTE}"
    yield "What a notebook or another program calls, in the order of `api.md`."
    for line in (DOCS / "api.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            yield line
        elif line.startswith("::: "):
            yield _entry(line.removeprefix("::: ").strip())


def _entry(path: str) -> str:
    """One object: name, how it is called, what its docstring says, and its public methods."""
    found = _find(path)
    lines = [f"{_called(found)}", *_indented(inspect.getdoc(found) or "")]
    if inspect.isclass(found):
        for name, member in vars(found).items():
            function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
            if name.startswith("_") or not inspect.isfunction(function):
                continue
            lines += [
                "",
                f"    .{_called(function)}",
                *_indented(inspect.getdoc(function) or "", 8),
            ]
    return f"### {path}\n\n```text\n" + "\n".join(line.rstrip() for line in lines) + "\n```"


def _find(path: str) -> Any:
    module, names = path, []
    while True:
        try:
            found: Any = importlib.import_module(module)
            break
        except ModuleNotFoundError:
            module, _, name = module.rpartition(".")
            names.insert(0, name)
    for name in names:
        found = getattr(found, name)
    return found


def _called(found: Any) -> str:
    """Name and parameters with their defaults; types stand in the docstrings and the code."""
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):
        return str(getattr(found, "__name__", found))
    if inspect.isclass(found) and issubclass(found, Options):
        return f"{found.__name__}(...)  # options: see options.md"
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    shown = signature.replace(parameters=bare, return_annotation=inspect.Signature.empty)
    return ADDRESS.sub("", f"{found.__name__}{shown}")


def _indented(text: str, by: int = 4) -> list[str]:
    return [" " * by + line for line in text.splitlines()]


if __name__ == "__main__":
    main()
