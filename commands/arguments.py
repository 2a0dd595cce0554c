"""Arguments that commands share, and their types: what argparse refuses, it refuses in one line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ConfigError, CrossalignError
from ..fileio import refuse_export, require_writable
from ..own_parts import absolute, import_parts

DATA_HELP = "data folder or file, or 'planted' (built in)"
NONE = "none"
MOST_DIGITS = 18
"""Of whole numbers; more fit no machine."""


def add_set(command: argparse.ArgumentParser) -> None:
    """`--set KEY=VALUE`, any number of times."""
    command.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="set one option"
    )


def add_moved(command: argparse._ActionsContainer) -> None:
    """`--data NEW`, where the data of a run lie now."""
    command.add_argument(
        "--data", dest="moved", metavar="DATA", help="where the data of the run lie now, if moved"
    )


def add_import(command: argparse.ArgumentParser) -> None:
    """`--import SOURCE`, any number of times, done at once: `--help` behind it lists its parts."""
    command.add_argument(
        "--import",
        dest="imports",
        action=_Import,
        default=[],
        metavar="PARTS",
        help="own backbones and alignments: a file such as my_parts.py, or a module",
    )


def add_quiet(command: argparse.ArgumentParser) -> None:
    """`--quiet`."""
    command.add_argument("--quiet", action="store_true", help="no progress bars")


def add_tensorboard(place: argparse._ActionsContainer) -> None:
    """`--tensorboard`, refused at once where it cannot be written."""
    place.add_argument("--tensorboard", action=_TensorBoard, help="write scalars for TensorBoard")


def add_components(place: argparse._ActionsContainer) -> None:
    """`--backbone` and `--alignment`."""
    place.add_argument("--backbone", metavar="NAME", help="backbone (see crossalign list)")
    place.add_argument("--alignment", metavar="NAME", help="alignment, or none")


def add_out(place: argparse._ActionsContainer, text: str, *, required: bool = False) -> None:
    """`--out FOLDER`, refused at once if it cannot be written."""
    place.add_argument("--out", type=folder, required=required, metavar="FOLDER", help=text)


def add_out_file(command: argparse.ArgumentParser, text: str) -> None:
    """`-o FILE`, refused at once if its folder cannot be written."""
    command.add_argument("-o", "--out", type=_file, required=True, metavar="FILE", help=text)


def add_finished_runs(command: argparse.ArgumentParser) -> None:
    """The options of a command that evaluates finished runs and writes what it finds."""
    command.add_argument("folders", nargs="+", metavar="FOLDER", help="studies or runs")
    command.add_argument("-k", type=positive, default=20, help="length of lists (default 20)")
    command.add_argument("--split", choices=["valid", "test"], default="test", help="default test")
    add_out(command, "folder for results", required=True)
    add_moved(command)
    add_quiet(command)


def add_study(command: argparse.ArgumentParser, seeds: str, out: str | None = None) -> None:
    """The options of a command that trains several runs, with its default `seeds` and `out`."""
    command.add_argument(
        "--seeds", type=seed_list, default=seeds, help=f"comma-separated (default {seeds})"
    )
    command.add_argument("--jobs", type=positive, default=1, help="processes at a time (default 1)")
    text = "study folder" if out is None else f"study folder (default {out})"
    add_out(command, text, required=out is None)
    command.set_defaults(out=out)
    add_tensorboard(command)
    add_quiet(command)


def how_to_run(options: argparse.Namespace) -> dict[str, Any]:
    """What `add_study` asks for beside seeds and folder, as `run_study` takes it."""
    return {
        "jobs": options.jobs,
        "progress": not options.quiet,
        "tensorboard": options.tensorboard,
    }


def seed_list(text: str) -> list[int]:
    """Different comma-separated seeds."""
    seeds = text.split(",")
    if not all(seed.strip().isdecimal() for seed in seeds):
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of seeds such as 0,1,2")
    return _each_once(text, [int(seed) for seed in seeds])


def name_list(text: str) -> list[str]:
    """Different comma-separated names."""
    names = [name.strip() for name in text.split(",")]
    if "" in names:
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of names such as a,b")
    return _each_once(text, names)


class IdList(NamedTuple):
    """Ids from the command line; which is right, the catalogue knows."""

    names: list[str]
    """Separated by commas, those between double quotes whole."""
    whole: str
    """The text as one id, which may have a comma in it."""


def id_list(text: str) -> IdList:
    """Different comma-separated ids; one that has a comma stands between double quotes."""
    from ..datasets.ids import SPACE
    from ..datasets.text_tables import Records

    try:
        records = list(Records(Path("ids"), text, ","))
    except CrossalignError:  # a quote that is not closed belongs to the id
        records = []
    fields = records[0][1] if len(records) == 1 else [text]
    names = [name.strip(SPACE) for name in fields]
    if "" in names:
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of names such as a,b")
    return IdList(_each_once(text, names), text.strip(SPACE))


def number_list(text: str) -> list[float]:
    """Different comma-separated numbers; nothing for `none`."""
    try:
        numbers = [] if text == NONE else [float(number) for number in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a list such as 0,.5,.9") from None
    return _each_once(text, numbers)


def positive(text: str) -> int:
    """An integer of at least one."""
    if not text.isdecimal() or len(text) > MOST_DIGITS or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive integer")
    return int(text)


def natural(text: str) -> int:
    """An integer of at least zero."""
    if not text.isdecimal() or len(text) > MOST_DIGITS:
        raise argparse.ArgumentTypeError(f"'{text}' is not an integer of at least 0")
    return int(text)


def seed(text: str) -> int:
    """A seed that NumPy, scikit-learn and torch all take."""
    if natural(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"'{text}' is not below 2^32")
    return int(text)


def folder(text: str) -> str:
    """A folder that can be written, or made, and is not that of an export or inside it."""
    try:
        refuse_export(text)
        require_writable(text)
    except CrossalignError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def export_folder(text: str) -> str:
    """A folder that can be written, or made; an export there is replaced."""
    try:
        require_writable(text)
    except CrossalignError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def option_values(flag: str, entries: Sequence[str]) -> dict[str, list[Any]]:
    """Options and their values from `key=value,value`.

    Args:
        flag: name of the argument, for messages.
        entries: what it was given.

    Raises:
        ConfigError: an entry is not of this form, or an option stands twice.
    """
    import yaml

    found: dict[str, list[Any]] = {}
    for entry in entries:
        key, equals, values = entry.partition("=")
        if not equals or not all(values.split(",")):
            raise ConfigError(f"{flag} {entry}: write it as key=value,value")
        if key in found:
            raise ConfigError(f"{flag} {key} stands twice: give all its values at once")
        if len(set(values.split(","))) < len(values.split(",")):
            raise ConfigError(f"{flag} {entry}: give each value once")
        try:
            found[key] = [yaml.safe_load(value) for value in values.split(",")]
        except yaml.YAMLError:
            raise ConfigError(f"{flag} {entry}: its values are not plain YAML values") from None
    return found


class _Import(argparse.Action):
    """Imports its value and keeps it, files by their absolute path."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        options: argparse.Namespace,
        value: Any,
        *_: object,
    ) -> None:
        import_parts(value)
        setattr(options, self.dest, [*getattr(options, self.dest), absolute(value)])


class _TensorBoard(argparse.Action):
    """A switch that asks for a package."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, dest, nargs=0, default=False, help=help)

    def __call__(
        self, parser: argparse.ArgumentParser, options: argparse.Namespace, *_: object
    ) -> None:
        from ..training.tensorboard import require_tensorboard

        require_tensorboard()
        setattr(options, self.dest, True)


def _each_once(text: str, values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise argparse.ArgumentTypeError(f"'{text}' has something twice: give each once")
    return values


def _file(text: str) -> str:
    """A file in a folder that can be written, or made."""
    folder(str(Path(text).parent))
    return text
