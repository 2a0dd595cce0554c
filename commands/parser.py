"""What the commands share: argument types, groups of options, and the configuration of a run."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NoReturn

from ..errors import ConfigError

if TYPE_CHECKING:
    from ..config import RunConfig

DATA_HELP = "data folder or file, or 'planted' (built in)"


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
        configured: bool = False,
    ) -> argparse.ArgumentParser:
        """A new command.

        Args:
            name: what the user types.
            run: called with the parsed options, `command_line` among them.
            text: one line of help.
            configured: whether it takes the configuration of a run, as `--config` and `--set`.
        """
        command = self._commands.add_parser(
            name, help=text, description=text, add_help=not configured
        )
        command.set_defaults(run=run)
        if configured:
            command.add_argument(
                "-h", "--help", action=_OptionsHelp, nargs=0, help="show this and all options"
            )
            command.add_argument("--config", metavar="FILE", help="YAML file with options")
            add_set(command)
        return command


class _OptionsHelp(argparse.Action):
    """`--help` of a command that takes a run configuration: every option of it is listed."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from ..config import option_help

        parser.print_help()
        print("\noptions for --set and YAML files:")
        for option in option_help():
            print(f"  {option.key} = {option.default}")
            print(textwrap.fill(option.help, 80, initial_indent=" " * 6, subsequent_indent=" " * 6))
        raise SystemExit(0)


def add_set(command: argparse.ArgumentParser) -> None:
    """`--set KEY=VALUE`, any number of times."""
    command.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="set one option"
    )


def add_quiet(command: argparse.ArgumentParser) -> None:
    """`--quiet`."""
    command.add_argument("--quiet", action="store_true", help="no progress bars")


def add_study(command: argparse.ArgumentParser, seeds: str) -> None:
    """The options of a command that trains several runs, with its default `seeds`."""
    command.add_argument(
        "--seeds", type=seed_list, default=seeds, help=f"comma-separated (default {seeds})"
    )
    command.add_argument("--jobs", type=positive, default=1, help="processes at a time (default 1)")
    command.add_argument("--out", required=True, metavar="FOLDER", help="study folder")
    add_quiet(command)


def seed_list(text: str) -> list[int]:
    """Comma-separated seeds; argparse turns the error into its one line."""
    seeds = text.split(",")
    if not all(seed.strip().isdecimal() for seed in seeds):
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of seeds such as 0,1,2")
    return [int(seed) for seed in seeds]


def positive(text: str) -> int:
    """An integer of at least one."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive integer")
    return int(text)


def run_config(options: argparse.Namespace, more: Mapping[str, object] | None = None) -> RunConfig:
    """The configuration that `--config`, `--set` and the command's own options add up to."""
    from ..config import load_config

    known = {key: getattr(options, key, None) for key in ("backbone", "alignment", "seed")}
    return load_config(options.config, options.set, path=options.data, **known, **(more or {}))
