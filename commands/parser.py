"""The parser of the commands, their help, and the configuration of a run that they add up to."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from ..errors import ConfigError
from .arguments import add_import, add_set

if TYPE_CHECKING:
    from ..config import OptionHelp, RunConfig

Listed: TypeAlias = "Mapping[str, Callable[[], Iterable[OptionHelp]]]"
"""Heading in `--help` -> the options below it."""


class Parser(argparse.ArgumentParser):
    """Reports a wrong command line as one line with exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Raise `ConfigError` in place of printing the usage."""
        raise ConfigError(f"{message}; see {self.prog} --help")


class Commands:
    """The sub-commands of a parser.

    Args:
        parser: gets the sub-commands.
    """

    def __init__(self, parser: Parser) -> None:
        self._commands = parser.add_subparsers(
            required=True, metavar="COMMAND", parser_class=Parser
        )

    def add(
        self,
        name: str,
        run: Callable[[argparse.Namespace], None],
        text: str,
        *,
        example: str,
        configured: bool = False,
        more: Listed | None = None,
    ) -> argparse.ArgumentParser:
        """A new command.

        Args:
            name: what the user types.
            run: called with the parsed options, `command_line` among them.
            text: one line of help.
            example: its arguments on a line that can be typed as it is.
            configured: whether it takes the configuration of a run, as `--config` and `--set`.
            more: other options that `--help` of a configured command lists.
        """
        command = self._commands.add_parser(
            name,
            help=text,
            description=text,
            epilog=f"example: crossalign {name} {example}".strip(),
            formatter_class=argparse.RawDescriptionHelpFormatter,  # the example stays one line
            add_help=not configured,
        )
        command.set_defaults(run=run, command=name)
        if configured:
            command.add_argument(
                "-h",
                "--help",
                action=_OptionsHelp,
                nargs=0,
                const=more or {},
                help="show this and all options",
            )
            command.add_argument("--config", metavar="FILE", help="YAML file with options")
            add_set(command)
        add_import(command)
        return command


class Version(argparse.Action):
    """`--version`: of the installed distribution."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        """Look it up, show it and leave."""
        try:
            print(f"{parser.prog} {metadata.version(parser.prog)}")
        except metadata.PackageNotFoundError:
            raise ConfigError("not installed, so it has no version: pip install -e .") from None
        raise SystemExit(0)


class _OptionsHelp(argparse.Action):
    """`--help` of a command that takes a run configuration: every option of it is listed."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from ..config import option_help

        parser.print_help()
        listed: Listed = {**self.const, "options for --set and YAML files": option_help}
        for heading, options in listed.items():
            print(f"\n{heading}:")
            for option in options():
                print(f"  {option.key} = {option.default}")
                indent = " " * 6
                print(
                    textwrap.fill(option.help, 80, initial_indent=indent, subsequent_indent=indent)
                )
        raise SystemExit(0)


def run_config(options: argparse.Namespace, more: Mapping[str, object] | None = None) -> RunConfig:
    """The configuration that `--config`, `--set` and the command's own options add up to."""
    from ..config import load_config

    known = {key: getattr(options, key, None) for key in ("backbone", "alignment", "seed")}
    return load_config(
        options.config,
        options.set,
        imports=options.imports,
        path=options.data,
        **known,
        **(more or {}),
    )
