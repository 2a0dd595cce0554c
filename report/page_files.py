"""A page as a file, and its figures beside it as SVG and PDF for papers and slides."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.colors import to_hex, to_rgba, to_rgba_array
from matplotlib.figure import Figure

from ..fileio import atomic_path, write_text
from .colors import VARIABLES
from .markup import Html
from .svg import STYLE, WIDTH, Plot

_COLORS = ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor")
_FONT = "Helvetica, Arial, 'DejaVu Sans', sans-serif"


def figure_folder(page: str | Path) -> Path:
    """Where the figures of a page lie: `report-figures` for `report.html`."""
    return Path(page).with_name(f"{Path(page).stem}-figures")


def write_page(path: str | Path, page: Html) -> None:
    """Write a page, and each of its plots as `<name>.svg` and `<name>.pdf` into `figure_folder`.

    Figures have the light colours of the page and are as wide as a column. Files of plots that
    the page no longer has are removed.

    Raises:
        RunError: a file cannot be written.
    """
    folder, written = figure_folder(path), set()
    for name, plot in _named([plot for plot in page.plots if isinstance(plot, Plot)]):
        write_text(folder / f"{name}.svg", svg_file(plot))
        with atomic_path(folder / f"{name}.pdf") as temporary:
            temporary.write_bytes(pdf_file(plot))
        written |= {f"{name}.svg", f"{name}.pdf"}
    for file in [*folder.glob("*.svg"), *folder.glob("*.pdf")]:
        if file.name not in written:
            file.unlink()
    with suppress(OSError):  # there are other files in it, or it is not there
        folder.rmdir()
    write_text(path, page)


def svg_file(plot: Plot) -> str:
    """An SVG document that other programs open: colours and sizes are fixed."""
    _, _, width, height = map(float, plot.split('viewBox="', 1)[1].split('"', 1)[0].split())
    text = plot.replace(" href=", " xlink:href=")
    for variable, color in light_colors().items():
        text = text.replace(f"var(--{variable})", color)
    head = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{WIDTH}in" height="{WIDTH * height / width:.3f}in" font-family="{_FONT}" '
    )
    return f"{head}{text.removeprefix('<svg ')}\n"


def pdf_file(plot: Plot) -> bytes:
    """A PDF with embedded fonts; equal plots have equal bytes."""
    buffer = io.BytesIO()
    nothing = {"CreationDate": None, "Creator": None, "Producer": None}
    with matplotlib.rc_context(STYLE):
        _recolor(plot.figure)
        plot.figure.savefig(buffer, format="pdf", metadata=nothing)
    return buffer.getvalue()


def light_colors() -> Mapping[str, str]:
    """Variable -> colour on light pages, from `style.css`."""
    style = (resources.files(__package__) / "style.css").read_text(encoding="utf-8")
    light = style[: style.index("@media")]
    return dict(re.findall(r"--([\w-]+): (#\w{6})", light))


def _named(plots: Sequence[Plot]) -> Iterator[tuple[str, Plot]]:
    """Names of files, from what plots show; equal ones are numbered."""
    count: dict[str, int] = {}
    for plot in plots:
        name = re.sub(r"[^a-z0-9]+", "-", plot.name.lower()).strip("-") or "figure"
        count[name] = count.get(name, 0) + 1
        yield name if count[name] == 1 else f"{name}-{count[name]}", plot


def _recolor(figure: Figure) -> None:
    """Put the light colours in place of the placeholders, in every part of a figure."""
    light = light_colors()
    colors = {placeholder: light[variable] for placeholder, variable in VARIABLES.items()}
    for artist in figure.findobj():
        for name in _COLORS:
            _recolor_one(artist, name, colors)


def _recolor_one(artist: Artist, name: str, colors: Mapping[str, str]) -> None:
    """One colour of an artist, or one for each of the parts that it draws; opacity stays."""
    read, write = getattr(artist, f"get_{name}", None), getattr(artist, f"set_{name}", None)
    if read is None or write is None:
        return
    value: Any = read()
    rows = to_rgba_array(value)
    mapped = [to_rgba(colors.get(to_hex(row[:3]), row[:3]), row[3]) for row in rows]
    if len(mapped) and not np.array_equal(mapped, rows):
        write(mapped if len(mapped) > 1 else mapped[0])
