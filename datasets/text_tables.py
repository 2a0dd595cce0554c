"""Rows out of text: separated values, quoted or not, and JSON lines.

A field is quoted if it begins with a double quote; inside, a quote is written twice. In a table
separated by tabs a quoted field ends on its line, and a quote that is not closed there is part of
the text. In all others it may hold line breaks, and must be closed. Nothing is ever joined or left
out without a word.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, shorten
from ..tensors.later import pa
from .ids import SPACE

SEPARATORS = {".csv": ",", ".tsv": "\t", ".inter": "\t"}
USUAL = (",", "\t", ";", "|")
BLOCK = 2**25
QUOTED = re.compile(r'"([^"]*(?:""[^"]*)*)"[ ]*')
"""A quoted field and spaces after it."""
CELLS = 2**16
"""Rows held as Python strings at a time."""
TEXT = "large_string"
"""What Arrow calls the type of every cell."""


@dataclass(frozen=True)
class TextTable:
    """A table of text.

    Attributes:
        names: of the columns.
        columns: `(n,)` strings, one array a column.
        lines: `(n,)` line of every row; None if row r is in line r + 2.
        notes: what was odd.
        nested: column -> first row with a list, an object or a truth value (JSON lines).
    """

    names: tuple[str, ...]
    columns: tuple[pa.Array, ...]
    lines: np.ndarray | None
    notes: tuple[str, ...] = ()
    nested: Mapping[str, int] = field(default_factory=dict)


def read_separated(path: Path, text: bytes, separator: str | None, usual: str) -> TextTable:
    """A table of separated values.

    Args:
        path: where it comes from, for messages.
        text: UTF-8.
        separator: as asked for; None looks into the header where `usual` is not in it.
        usual: by the suffix of the file.

    Raises:
        DataError: a quote is not closed, or a row has more or fewer fields than the header.
    """
    if b"\r" in text and b"\n" not in text:  # as old Macs wrote
        text = text.replace(b"\r", b"\n")
    notes = []
    first = text.lstrip().partition(b"\n")[0].decode()
    if separator is None:
        separator = _found(first, usual)
        if separator != usual:
            notes.append(f"{path.name}: fields are separated by {_name(separator)}")
    if _is_plain(text) and len(separator) == 1:
        table = _read_plain(text, separator)
        if table is not None:
            return TextTable(*table, None, tuple(notes))
    rows = Records(path, text.decode(), separator)
    names, columns, lines = _columns(path, rows)
    if rows.joined:
        notes.append(f"{path.name}: {rows.joined} quoted field(s) hold line breaks")
    return TextTable(names, columns, lines, tuple(notes))


def _found(header: str, usual: str) -> str:
    """The usual separator, or the only other one that the header has."""
    others = [mark for mark in USUAL if mark in header]
    return others[0] if usual not in header and len(others) == 1 else usual


def _name(separator: str) -> str:
    return "tabs" if separator == "\t" else f"'{separator}'"


def _is_plain(text: bytes) -> bool:
    """Whether every line is a row, and every separator ends a field."""
    return not (
        b'"' in text
        or text.startswith((b"\n", b"\r"))
        or b"\n\n" in text
        or b"\n\r" in text
        or text.count(b"\r") != text.count(b"\r\n")
    )


def _read_plain(text: bytes, separator: str) -> tuple[tuple[str, ...], tuple[pa.Array, ...]] | None:
    """Names and columns by Arrow's reader; None where it refuses a row: the other one says why."""
    from pyarrow import csv

    header, _, rest = text.partition(b"\n")
    names = tuple(name.strip(SPACE) for name in header.decode().split(separator))
    keys = [str(place) for place in range(len(names))]
    if not rest:
        return names, tuple(pa.array([], TEXT) for _ in names)
    try:
        table = csv.read_csv(
            io.BytesIO(rest),
            read_options=csv.ReadOptions(column_names=keys, block_size=BLOCK, use_threads=False),
            parse_options=csv.ParseOptions(
                delimiter=separator, quote_char=False, ignore_empty_lines=False
            ),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(keys, TEXT), strings_can_be_null=False
            ),
        )
    except (pa.ArrowInvalid, ValueError):
        return None
    return names, tuple(column.combine_chunks() for column in table.columns)


class Records:
    """Line and fields of every record of a text; blank lines are none.

    Attributes:
        joined: quoted fields with line breaks so far.
    """

    def __init__(self, path: Path, text: str, separator: str) -> None:
        self.path, self.text, self.separator = path, text, separator
        self.multiline = separator != "\t"
        self.joined = 0

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        start, line, text = 0, 1, self.text
        while start < len(text):
            end = text.find("\n", start)
            end = len(text) if end < 0 else end
            plain = text[start:end].removesuffix("\r")
            if '"' in plain:
                fields, end = self._quoted(start, line)
                yield line, fields
            elif plain.strip(SPACE):
                yield line, plain.split(self.separator)
            line += text.count("\n", start, end) + 1
            start = end + 1

    def _quoted(self, start: int, line: int) -> tuple[list[str], int]:
        """Fields of a record that has quotes, and where its last line ends."""
        text, separator = self.text, self.separator
        fields: list[str] = []
        while True:
            stop = text.find("\n", start)
            stop = len(text) if stop < 0 else stop
            field, end = self._field(start, stop, line)
            fields.append(field)
            if not text.startswith(separator, end):
                return fields, text.find("\n", end) if "\n" in text[end : end + 2] else len(text)
            start = end + len(separator)

    def _field(self, start: int, stop: int, line: int) -> tuple[str, int]:
        """A field and where it ends; the line of its start ends at `stop`."""
        text = self.text
        begin = start
        while begin < stop and text[begin] == " ":
            begin += 1
        if begin < stop and text[begin] == '"':
            limit = len(text) if self.multiline else stop
            found = QUOTED.match(text, begin, limit)
            if found and self._ends(found.end()):
                self.joined += "\n" in found[1]
                return found[1].replace('""', '"'), found.end()
            if self.multiline:
                where = line + text.count("\n", start, begin)
                what = "goes on after its closing quote" if found else "is never closed"
                raise DataError(
                    f"{self.path}, line {where}: the quoted field {shorten(text[begin:stop])} "
                    f"{what}; write quotes inside a field twice, in a field between quotes"
                )
        end = text.find(self.separator, start, stop)
        if end < 0:
            end = stop - text[start:stop].endswith("\r")
        return text[start:end], end

    def _ends(self, place: int) -> bool:
        """Whether a field can end at `place`: before a separator or the end of a line."""
        rest = self.text[place : place + max(2, len(self.separator))]
        return rest.startswith((self.separator, "\n", "\r\n")) or rest in ("", "\r")


def _columns(path: Path, rows: Records) -> tuple[tuple[str, ...], tuple[pa.Array, ...], np.ndarray]:
    records = iter(rows)
    _, header = next(records, (0, []))
    names = tuple(name.strip(SPACE) for name in header)
    parts: list[list[pa.Array]] = [[] for _ in names]
    cells: list[list[str]] = []
    lines: list[int] = []

    def move() -> None:
        for place, part in enumerate(parts):
            part.append(pa.array([row[place] for row in cells], TEXT))
        cells.clear()

    for line, fields in records:
        if len(fields) != len(names):
            raise DataError(
                f"{path}, line {line}: rows have more fields than the header"
                f" ({len(fields)}, not {len(names)}); name every column, or remove the separators "
                "at the ends of rows"
                if len(fields) > len(names)
                else f"{path}, line {line}: has {len(fields)} field(s), the header {len(names)}; "
                "is the file cut off? mend the line"
            )
        cells.append(fields)
        lines.append(line)
        if len(cells) == CELLS:
            move()
    move()
    columns = (pa.chunked_array(part, TEXT).combine_chunks() for part in parts)
    return names, tuple(columns), np.array(lines, dtype=np.int64)


def read_json_lines(path: Path, text: bytes) -> TextTable:
    """A table of one JSON object a line; numbers stay as they are written.

    Raises:
        DataError: a line is no object.
    """
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    nested: dict[str, int] = {}
    for line, raw in enumerate(text.decode().split("\n"), start=1):
        if raw.strip(SPACE):
            row = _json_row(path, line, raw)
            for name, value in row.items():
                if isinstance(value, bool | dict | list):
                    nested.setdefault(name, len(rows))
                    row[name] = json.dumps(value)
            rows.append(row)
            lines.append(line)
    names = tuple(dict.fromkeys(name for row in rows for name in row))
    columns = (pa.array([row.get(name) for row in rows], TEXT) for name in names)
    return TextTable(names, tuple(columns), np.array(lines, dtype=np.int64), nested=nested)


def _json_row(path: Path, line: int, raw: str) -> dict[str, Any]:
    try:
        row = json.loads(raw, parse_int=str, parse_float=str, parse_constant=str)
        if not isinstance(row, dict):
            raise ValueError("it is none")
        for value in row.values():
            if isinstance(value, str):
                value.encode()  # refuses halves of characters
    except (ValueError, RecursionError) as error:
        reason = shorten(str(error))
        raise DataError(f"{path}, line {line}: is no JSON object ({reason}); mend it") from error
    return {name.strip(SPACE): value for name, value in row.items()}
