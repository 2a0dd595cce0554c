"""Titles and pictures of items, from a table of the operator's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ...datasets.frames import usual_column
from ...errors import DataError
from ...extraction import from_columns, read_items
from .options import ItemsFile

TITLE_NAMES = ("title", "name", "itemtitle", "itemname")
MOST_BYTES = 16 * 2**20
MAGIC = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}


@dataclass(frozen=True)
class Catalogue:
    """What people call items, and what these look like.

    Attributes:
        titles: id -> title.
        pictures: id -> file.
        folder: in which all pictures must lie.
    """

    titles: dict[str, str] = field(default_factory=dict)
    pictures: dict[str, Path] = field(default_factory=dict)
    folder: Path | None = None

    @classmethod
    def read(cls, items: ItemsFile | None) -> Catalogue:
        """Read a table of items; an empty catalogue without one.

        Raises:
            DataError: it is no table, or lacks a column.
        """
        if items is None:
            return cls()
        table = read_items(items.path, items.id_column)
        title = items.title or usual_column(table.frame, TITLE_NAMES)
        if title is None and items.picture is None:
            raise DataError(
                f"{items.path}: no column is called {' or '.join(TITLE_NAMES[:2])}; "
                "name one with --title"
            )
        titles, pictures = {}, {}
        if title is not None:
            texts = from_columns(table, [title], "text", "title")
            titles = _first(texts.item_ids, texts.contents)
        if items.picture is not None:
            files = from_columns(table, [items.picture], "image", "picture")
            pictures = _first(files.item_ids, files.contents)
        return cls(
            {item: str(text) for item, text in titles.items()},
            {item: Path(file) for item, file in pictures.items()},
            items.path.resolve().parent,
        )

    def picture(self, item: str) -> tuple[bytes, str] | None:
        """Bytes and media type of an item's picture; None if there is none that can be shown.

        A table may say anything: only images below its own folder are read.
        """
        file = self.pictures.get(item)
        if file is None or self.folder is None:
            return None
        try:
            real = file.resolve(strict=True)
            inside = real.is_relative_to(self.folder)
            if not inside or not real.is_file() or real.stat().st_size > MOST_BYTES:
                return None
            content = real.read_bytes()
        except (OSError, ValueError):  # it is gone, or its name is none
            return None
        kind = media_type(content)
        return None if kind is None else (content, kind)


def media_type(content: bytes) -> str | None:
    """The type of an image that browsers show, by its first bytes; None for anything else."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in MAGIC.items() if content.startswith(magic)), None)


def _first(
    ids: Iterable[object], contents: Iterable[tuple[str | Path, ...]]
) -> dict[str, str | Path]:
    return {str(item): inputs[0] for item, inputs in zip(ids, contents, strict=True) if inputs}
