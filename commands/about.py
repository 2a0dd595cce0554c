"""`crossalign list` and `crossalign doctor`: what there is, and whether it works here."""

from __future__ import annotations

import argparse
import textwrap

from .parser import Commands


def add(commands: Commands) -> None:
    """Add the commands."""
    commands.add(
        "list",
        list_components,
        "backbones, alignments, reference lines, kinds of evidence, data layouts",
        example="",
    )
    commands.add("doctor", doctor, "versions, engines, and what is missing", example="")


def list_components(options: argparse.Namespace) -> None:
    """Print one line and one paper for each component, and the data formats."""
    from ..config import COMPONENTS
    from ..datasets import FORMATS
    from ..evidence import EVIDENCE
    from ..extraction import ENCODERS
    from ..own_parts import import_installed
    from ..references import REFERENCES

    import_installed()
    registries = {f"{kind}s": registry for kind, registry in COMPONENTS.items()}
    registries |= {"references": REFERENCES, "evidence": EVIDENCE, "encoders": ENCODERS}
    for kind, registry in registries.items():
        print(kind)
        for name in registry.names():
            _print_entry(name, registry[name].summary, registry[name].paper)
    print("datasets")
    for name, layout in FORMATS.items():
        _print_entry(name, layout.summary, layout.paper)


def _print_entry(name: str, *lines: str) -> None:
    indent = " " * 17
    print(
        f"  {name:14s} "
        + "\n".join(
            textwrap.fill(line, 80, initial_indent=indent, subsequent_indent=indent)
            for line in lines
        ).lstrip()
    )


def doctor(options: argparse.Namespace) -> None:
    """Print the state of the installation."""
    from .doctor import collect

    print("\n".join(collect().lines()))
