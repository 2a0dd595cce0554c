"""Small pieces of HTML. Text is escaped here; `Html` marks what already is HTML."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from string import Template


class Html(str):
    """Text that is HTML already. Everything else is escaped before it goes into a page."""

    @property
    def plots(self) -> tuple[Html, ...]:
        """The plots in it, in order; what is put together here keeps those of its parts."""
        return ()


class _Whole(Html):
    """HTML around other parts."""

    def __new__(cls, text: str, parts: Iterable[Html]) -> _Whole:
        whole = super().__new__(cls, text)
        whole._plots = tuple(plot for part in parts for plot in part.plots)
        return whole

    _plots: tuple[Html, ...]

    @property
    def plots(self) -> tuple[Html, ...]:
        return self._plots


def escape(value: object) -> Html:
    """`value` as text that is safe in HTML, attributes included."""
    return Html(html.escape(str(value)))


def breakable(text: str) -> Html:
    """A path or a label that may be broken into lines behind its separators, and nowhere else."""
    return Html(re.sub(r"([/+_])", r"\1<wbr>", escape(text)))


def join(parts: Iterable[Html]) -> Html:
    """Parts one after another, the empty ones left out."""
    there = [part for part in parts if part]
    return _Whole("\n".join(there), there)


def page(title: str, subtitle: str, body: Html) -> Html:
    """A whole, self-contained page: nothing in it refers to another file or host."""
    folder = resources.files(__package__)
    template = Template((folder / "page.html").read_text(encoding="utf-8"))
    style = (folder / "style.css").read_text(encoding="utf-8")
    text = template.substitute(
        title=escape(title), subtitle=escape(subtitle), style=style, body=body
    )
    return _Whole(text, [body])


def section(heading: str, *parts: Html) -> Html:
    """A headed section, or nothing if all parts are empty."""
    body = join(parts)
    whole = f"<section>\n<h2>{escape(heading)}</h2>\n{body}\n</section>"
    return _Whole(whole, [body]) if body else body


def grid(*parts: Html) -> Html:
    """Parts side by side where the screen is wide enough, else below each other."""
    body = join(parts)
    return _Whole(f'<div class="grid">\n{body}\n</div>', [body]) if body else body


def panel(heading: str, body: Html) -> Html:
    """A card with a small heading, or nothing if `body` is empty."""
    whole = f'<div class="panel">\n<h3>{escape(heading)}</h3>\n{body}\n</div>'
    return _Whole(whole, [body]) if body else body


def note(text: str) -> Html:
    """A short remark in small print."""
    return Html(f'<p class="note">{escape(text)}</p>')


def code(text: str, *, columns: bool = False) -> Html:
    """Text as it would stand in a terminal or file, or nothing if it is empty.

    Names of options stay whole where a line is broken.

    Args:
        text: what to show.
        columns: set short lines in as many columns as there is room for.
    """
    kind = ' class="columns"' if columns else ""
    whole = re.sub(r"(?<!\S)--[\w-]+", r"<span>\g<0></span>", escape(text))
    return Html(f"<pre{kind}>{whole}</pre>" if text else "")


def link(text: str, target: str) -> Html:
    """A link to a file beside the page."""
    return Html(f'<a href="{escape(target)}">{breakable(text)}</a>')


def figure(title: str, svg: Html) -> Html:
    """An inline plot under its title, or nothing if there is no plot."""
    if not svg:
        return Html("")
    whole = f"<figure>\n<figcaption>{escape(title)}</figcaption>\n{svg}\n</figure>"
    return _Whole(whole, [svg])


def drawing(svg: Html) -> Html:
    """An inline plot in a card that has a title already, or nothing if there is no plot."""
    return _Whole(f'<div class="drawing">\n{svg}\n</div>' if svg else "", [svg])


def tiles(values: Mapping[str, str]) -> Html:
    """Headline numbers: name -> value."""
    cells = "".join(
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span></div>\n'
        for name, value in values.items()
    )
    return Html(f'<div class="tiles">\n{cells}</div>' if cells else "")


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str | Html]],
    *,
    best: int | None = None,
    wrap: bool = False,
) -> Html:
    """A table whose first column names the rows; cells are HTML already.

    A click on the head of a column sorts the rows by it, see `page.html`.

    Args:
        headers: names of the columns, escaped here.
        rows: cells, made with `escape` or `link`.
        best: index of the row to print in bold.
        wrap: cells hold text that may be broken into lines.
    """
    if not rows:
        return Html("")
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in headers)
    body = "".join(
        f"<tr{' class=best' if index == best else ''}>"
        + f'<th scope="row">{row[0]}</th>'
        + "".join(f"<td>{cell}</td>" for cell in row[1:])
        + "</tr>\n"
        for index, row in enumerate(rows)
    )
    kind = ' class="wrap"' if wrap else ""
    return Html(
        f'<div class="scroll"><table{kind}>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}</tbody>\n</table></div>"
    )


def facts(values: Mapping[str, object]) -> Html:
    """A two-column table of names and values, or nothing if there are none."""
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>\n'
        for name, value in values.items()
    )
    return Html(f'<table class="facts">\n{rows}</table>' if rows else "")
