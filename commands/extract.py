"""`crossalign extract`: features from raw texts, images and sounds."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, unknown_name
from .arguments import add_out, add_quiet, positive
from .parser import Commands

if TYPE_CHECKING:
    from ..extraction import Extraction, Inputs, ItemsTable, Kind

KINDS: tuple[Kind, ...] = ("text", "image", "audio")
SOURCE = "[NAME=]COLUMN[,COLUMN] or [NAME=]FOLDER"


def add(commands: Commands) -> None:
    """Add the command."""
    command = commands.add(
        "extract",
        extract,
        "features from raw texts, images and sounds; the same command goes on after a kill",
        example="items.csv --text title,description --out shop",
    )
    command.add_argument(
        "items", nargs="?", type=Path, help="table of items: .csv, .tsv or .parquet"
    )
    what = command.add_argument_group("content; NAME is the modality's, the kind by default")
    what.add_argument("--text", **_repeated(SOURCE), help="texts; columns are joined")
    what.add_argument("--image", **_repeated(SOURCE), help="image files: paths, or named by id")
    what.add_argument("--audio", **_repeated(SOURCE), help="sound files, likewise")
    what.add_argument("--ducho", **_repeated("NAME=FOLDER"), help="vectors that Ducho extracted")
    what.add_argument("--id-column", metavar="COLUMN", help="column of item ids")
    how = command.add_argument_group("encoding")
    how.add_argument(
        "--encoder",
        **_repeated("NAME=ENCODER"),
        help="of a modality: see crossalign list, or module:callable",
    )
    how.add_argument(
        "--set",
        **_repeated("NAME.KEY=VALUE"),
        help="option of a modality's encoder, such as text.model=FOLDER",
    )
    how.add_argument("--batch-size", type=positive, help="inputs at a time (default 64)")
    how.add_argument("--device", choices=("auto", "cpu", "cuda"), help="default auto")
    how.add_argument("--half", action="store_true", help="encode in 16 bits")
    how.add_argument("--max-pixels", type=positive, help="of an image (default 64000000)")
    add_out(command, "data folder (default: the table's)")
    command.add_argument("--format", choices=("npz", "parquet"), default="npz", help="default npz")
    add_quiet(command)


def _repeated(metavar: str) -> dict[str, Any]:
    return {"action": "append", "default": [], "metavar": metavar}


@dataclass(frozen=True)
class Wish:
    """A modality that the command line asks for."""

    modality: str
    kind: Kind
    source: str


def extract(options: argparse.Namespace) -> None:
    """Encode every modality asked for, and print what was written and what was left out."""
    from ..extraction import ExtractOptions, extract, from_ducho, make_encoder, read_items
    from ..extraction.record import features_file

    if options.quiet:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    wishes = _wishes(options)
    chosen = _encoders(options, wishes)
    out = _out(options)
    names = ("batch_size", "device", "max_pixels")
    given = {name: getattr(options, name) for name in names if getattr(options, name)}
    settings = ExtractOptions(**given, half=options.half)
    settings.torch_device()  # refused before hours of reading
    items = read_items(options.items, options.id_column) if options.items else None
    how = {"file_format": options.format, "progress": not options.quiet}
    for wish in wishes:
        features_file(out, wish.modality, options.format)
    inputs = [_inputs(wish, items) for wish in wishes]
    # whatever is wrong with any of them shows before hours of encoding another
    prepared = [(one, make_encoder(*chosen[one.modality], one.kind)) for one in inputs]
    for modality, folder in _ducho(options.ducho):
        _report(from_ducho(Path(folder), out, modality, **how))
    for one, encoder in prepared:
        _report(extract(one, encoder, out, settings, named=chosen[one.modality], **how))


def _out(options: argparse.Namespace) -> Path:
    if options.out:
        return Path(options.out)
    if options.items is None:
        raise ConfigError("without a table of items, say with --out where features are written")
    return options.items.parent


def _wishes(options: argparse.Namespace) -> list[Wish]:
    wishes = []
    for kind in KINDS:
        for entry in getattr(options, kind):
            name, equals, source = entry.partition("=")
            wishes.append(Wish(name, kind, source) if equals else Wish(kind, kind, entry))
    names = [wish.modality for wish in wishes] + [name for name, _ in _ducho(options.ducho)]
    if not names:
        raise ConfigError("nothing to extract: name content with --text, --image or --audio")
    for name in names:
        if not re.fullmatch(r"\w[\w-]*", name) or name == "id" or "_feat" in name:
            raise ConfigError(f"'{name}' is no name for a modality: use letters and digits")
        if names.count(name) > 1:
            raise ConfigError(f"modality '{name}' stands twice: name one, as in my_{name}=...")
    return wishes


def _ducho(entries: list[str]) -> Iterator[tuple[str, str]]:
    for entry in entries:
        name, equals, folder = entry.partition("=")
        if not equals or not folder:
            raise ConfigError(f"--ducho {entry}: write it as NAME=FOLDER")
        yield name, folder


def _inputs(wish: Wish, items: ItemsTable | None) -> Inputs:
    """Columns where the table has them, else a folder."""
    from ..extraction import from_columns, from_folder

    columns = [column.strip() for column in wish.source.split(",")]
    folder = Path(wish.source)
    if items is not None and (columns[0] in items.frame.columns or not folder.is_dir()):
        return from_columns(items, columns, wish.kind, wish.modality)
    if not folder.is_dir():
        raise ConfigError(f"--{wish.kind} {wish.source}: no such folder; or give a table of items")
    known = None if items is None else items.item_ids
    return from_folder(folder, wish.kind, wish.modality, known)


def _encoders(
    options: argparse.Namespace, wishes: list[Wish]
) -> dict[str, tuple[str, dict[str, Any]]]:
    """Modality -> name and options of its encoder."""
    from ..extraction import DEFAULT_ENCODERS

    chosen = {wish.modality: DEFAULT_ENCODERS[wish.kind] for wish in wishes}
    given: dict[str, dict[str, Any]] = {modality: {} for modality in chosen}
    for entry in options.encoder:
        modality, equals, name = entry.partition("=")
        if not equals or not name:
            raise ConfigError(f"--encoder {entry}: write it as NAME=ENCODER")
        if modality not in chosen:
            raise unknown_name("modality", modality, chosen)
        chosen[modality] = name
    for modality, key, value in _settings(options.set):
        if modality not in given:
            raise unknown_name("modality", modality, given)
        given[modality][key] = value
    return {name: (encoder, _checked(encoder, given[name])) for name, encoder in chosen.items()}


def _checked(encoder: str, given: dict[str, Any]) -> dict[str, Any]:
    """All options of an encoder; those of somebody's own are theirs to check."""
    from ..extraction import ENCODERS
    from ..options import checked_option

    if ":" in encoder:
        return given
    options = ENCODERS[encoder].options()
    values = {key: option.default for key, option in options.items()}
    for key, value in given.items():
        if key not in options:
            raise unknown_name(f"option of encoder '{encoder}'", key, options)
        values[key] = checked_option(f"encoder.{key}", options[key].type, value)
    return values


def _settings(entries: list[str]) -> Iterator[tuple[str, str, Any]]:
    """Modality, key and value of every `--set`."""
    import yaml

    for entry in entries:
        where, equals, text = entry.partition("=")
        modality, dot, key = where.strip().partition(".")
        if not equals or not dot or not key:
            raise ConfigError(f"--set {entry}: write it as NAME.KEY=VALUE, as in text.model=FOLDER")
        try:
            yield modality, key, yaml.safe_load(text)
        except yaml.YAMLError:
            raise ConfigError(f"--set {entry}: its value is not plain YAML") from None


def _report(done: Extraction) -> None:
    """Print what the features are, and how much was left out."""
    record = done.record
    what = "written to" if done.made else "unchanged:"
    print(f"{record['modality']}: {record['items']} items, {record['dim']} numbers each; "
          f"{what} {done.file}")  # fmt: skip
    if done.made and record.get("encoded_before"):
        n, known = record["distinct_inputs"], record["encoded_before"]
        print(f"  {known} of {n} different inputs were encoded before, {n - known} now")
    for item in record["missing"][:3]:
        print(f"  without: {item['item']} ({item['why']})")
    n_more = len(record["missing"]) - 3
    if n_more > 0:
        print(f"  and {n_more} more, see {done.file.with_suffix('.json').name}")
    used = [bad for bad in record["unreadable"] if bad["item"] not in
            {item["item"] for item in record["missing"]}]  # fmt: skip
    if used:
        print(f"  {len(used)} unreadable input(s) of items that have others")
