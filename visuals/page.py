"""The page of `visualize`: maps with their numbers, and tables of nearest items."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from ..probes.geometry import Gap
from ..report import markup
from ..report.colors import Style, series_style
from ..report.markup import Html, breakable, escape
from ..report.numbers import number
from ..report.plots import scatter_plot
from ..run_files import REPORT_FILE
from .maps import LABELS, Picture
from .scenes import Scene, Visuals

USERS = series_style(7)
"""Style of users on every map; item views have the others, in the order of the data set."""
Looks: TypeAlias = "Mapping[str, Style]"
TITLE_WIDTH = 60
"""Characters of a title that a table shows."""

_ITEMS = (
    "All views of the same items on one map: the item representations of the recommender (id) and "
    "each modality through the projectors of the run. Views that lie apart could not be compared; "
    "where alignment worked, they mix. Rows are of length one. Distances across a t-SNE map, and "
    "its orientation, mean nothing; the numbers below are measured in the full space, over all "
    "items."
)
_PAIRS = (
    "Users and the content of items they took, on one map. The numbers below are measured on these "
    "pairs in the full space."
)
_GAPS = (
    "Cosine: mean over rows that belong together. By chance: over rows that do not; what counts is "
    "how far the first is above the second. Distance: between the means of both groups, 0 to 2."
)
_NO_CONTENT = (
    "A stage shows content only where something projects it: a backbone alone that ignores "
    "content has the view id only."
)
_NEAREST = "Nearest items by cosine in each view; the number is the cosine."


def render(visuals: Visuals, folder: Path, command: str) -> Html:
    """`visuals` as one HTML page that lies in `folder`."""
    scenes = visuals.scenes
    look = {name: series_style(index) for index, name in enumerate(("id", *visuals.modalities))}
    look["user"] = USERS
    axis = LABELS[visuals.options.method]
    alone = any(len(scene.stage.views.items) == 1 for scene in scenes)
    body = markup.join(
        [
            markup.section(
                "Items: id and content",
                markup.note(_ITEMS),
                markup.note(_NO_CONTENT) if alone else Html(""),
                markup.grid(*(_items(scene, look, axis) for scene in scenes)),
            ),
            markup.section(
                "Users and the content of their items",
                markup.note(_PAIRS),
                markup.grid(*(_pairs(scene, look, axis) for scene in scenes)),
                markup.note(_GAPS),
            ),
            markup.section(
                "Nearest items",
                markup.note(_NEAREST),
                *(_nearest(visuals, item) for item in scenes[0].near),
            ),
            markup.section("Runs behind these numbers", _runs(visuals, folder)),
            markup.section("Repeat this page", markup.code(command)),
        ]
    )
    return markup.page(f"Views of {visuals.dataset}", _subtitle(visuals), body)


def _subtitle(visuals: Visuals) -> str:
    options = visuals.options
    how = {"tsne": f"t-SNE, perplexity {options.perplexity:g}", "pca": "PCA", "umap": "UMAP"}
    stages = " and ".join(scene.stage.label for scene in visuals.scenes)
    return f"{stages}; {how[options.method]}, seed {options.seed}"


def _items(scene: Scene, look: Looks, axis: str) -> Html:
    geometry = scene.stage.geometry
    told = Html("")
    if geometry.modality_accuracy is not None:
        told = markup.note(
            f"A linear classifier tells the view of {geometry.modality_accuracy:.1%} of rows; "
            f"guessing gives {geometry.chance:.1%}."
        )
    return _picture(f"Items, {scene.stage.label}", scene.items, look, axis, told)


def _pairs(scene: Scene, look: Looks, axis: str) -> Html:
    return _picture(f"Users and content, {scene.stage.label}", scene.pairs, look, axis, Html(""))


def _picture(title: str, picture: Picture, look: Looks, axis: str, below: Html) -> Html:
    """A map in a card, with its numbers."""
    svg = scatter_plot(
        title,
        {name: (xy[:, 0].tolist(), xy[:, 1].tolist()) for name, xy in picture.places.items()},
        xlabel=f"{axis} 1",
        ylabel=f"{axis} 2",
        styles=look,
        is_map=True,
    )
    return markup.panel(title, markup.join([markup.drawing(svg), _gap_table(picture.gaps), below]))


def _gap_table(gaps: tuple[Gap, ...]) -> Html:
    rows = [
        [
            escape(f"{gap.first} ~ {gap.second}"),
            *(escape(number(v, 3)) for v in (gap.cosine, gap.unmatched, gap.centroid_distance)),
        ]
        for gap in gaps
    ]
    return markup.table(["views", "cosine", "by chance", "distance"], rows)


def _nearest(visuals: Visuals, item: int) -> Html:
    """The neighbours of one item, a table for every stage."""
    tables = [
        markup.panel(scene.stage.label, _near_table(scene, item, visuals.names))
        for scene in visuals.scenes
    ]
    return markup.join([Html(f"<h3>Item {_name(visuals.names[item])}</h3>"), markup.grid(*tables)])


def _near_table(scene: Scene, item: int, names: Mapping[int, str]) -> Html:
    """A column for every view, a row for every rank."""
    views = scene.near[item]
    ranks = range(max(map(len, views.values()), default=0))
    rows = [
        [
            escape(rank + 1),
            *(
                Html(
                    f"{_name(names[found[rank].item])} <small>{number(found[rank].cosine, 3)}"
                    "</small>"
                )
                if rank < len(found)
                else escape("–")
                for found in views.values()
            ),
        ]
        for rank in ranks
    ]
    return markup.table(["", *views], rows, wrap=True)


def _name(name: str) -> Html:
    """Id and title, shortened to what a table has room for."""
    return escape(textwrap.shorten(name, TITLE_WIDTH, placeholder=" …"))


def _runs(visuals: Visuals, folder: Path) -> Html:
    """Stage, run folder, and a link to its report where it lies."""
    rows = []
    for scene in visuals.scenes:
        run = scene.stage.folder
        report = run / REPORT_FILE
        target = Path(os.path.relpath(report, folder)).as_posix()
        link = markup.link("report", target) if report.is_file() else escape("–")
        rows.append([escape(scene.stage.label), breakable(str(run)), link])
    return markup.table(["stage", "run folder", ""], rows, wrap=True)
