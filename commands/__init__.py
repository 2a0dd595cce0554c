"""The commands, one module for each group that belongs together.

A new command is a module with `add(commands)`, and its name in `MODULES`. Heavy imports happen
inside the functions that run, so that `--help` and `doctor` answer at once and even where a
dependency is broken.
"""

from __future__ import annotations

from . import (
    about,
    controls,
    data,
    encode,
    experiments,
    extract,
    new_items,
    partition,
    probe,
    serve,
    service,
    setup,
    studies,
    train,
    tune,
    visualize,
)
from .parser import Commands, Parser, Version

MODULES = (
    train,
    serve,
    service,
    setup,
    data,
    new_items,
    partition,
    extract,
    encode,
    studies,
    experiments,
    probe,
    controls,
    visualize,
    tune,
    about,
)


def make_parser() -> Parser:
    """The parser of `crossalign` with all its commands."""
    parser = Parser(prog="crossalign", description="Multi-modal alignment for any recommender.")
    parser.add_argument("--version", action=Version, nargs=0, help="show the version")
    commands = Commands(parser)
    for module in MODULES:
        module.add(commands)
    return parser
