"""From a run folder to a page of maps, gap numbers and nearest items."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..config import RunConfig
from ..datasets import Dataset
from ..datasets.titles import find_titles, read_titles
from ..errors import ConfigError, RunError
from ..fileio import require_writable, write_text
from ..locks import only_writer
from ..progress import Bar
from ..report.page_files import write_page
from ..studies.methods import method_label
from .maps import MapOptions, items_picture, pairs_picture
from .nearest import chosen_items, nearest_items, original_ids
from .page import render
from .scenes import Scene, Visuals
from .stages import run_stages

PAGE_FILE = "visuals.html"
JSON_FILE = "visuals.json"


@dataclass(frozen=True)
class Listed:
    """Items whose nearest items are listed, how they are called, and the data they come from.

    Attributes:
        items: original ids; None takes popular ones.
        neighbors: how many for each.
        titles: table of item ids and titles; None takes `titles.csv` beside the data, if any.
        title_columns: its columns of ids and titles.
        data: where the data of the runs lie now, if they were moved.
    """

    items: Sequence[str] | None = None
    neighbors: int = 5
    titles: str | Path | None = None
    title_columns: tuple[str, str] | None = None
    data: str | None = None


def visualize(
    folder: str | Path,
    out: str | Path,
    *,
    against: str | Path | None = None,
    options: MapOptions | None = None,
    listed: Listed | None = None,
    command: str = "",
    progress: bool = True,
) -> Visuals:
    """Write `visuals.html` and `visuals.json` into `out`.

    Args:
        folder: run that is shown after alignment.
        out: folder of the page.
        against: run that is shown before; None takes `folder` before its training.
        options: how the maps are drawn.
        listed: items whose neighbours are listed; None lists those of popular ones.
        command: command line to repeat this, for the page.
        progress: show a progress bar.

    Raises:
        CrossalignError: anything the user can mend, in one line.
    """
    require_writable(out)
    with only_writer(out):
        found = _draw(
            folder, against, options or MapOptions(), listed or Listed(), progress=progress
        )
        write_text(Path(out) / JSON_FILE, json.dumps(found.to_dict(), indent=1) + "\n")
        write_page(Path(out) / PAGE_FILE, render(found, Path(out), command))
    return found


def _draw(
    folder: str | Path,
    against: str | Path | None,
    options: MapOptions,
    listed: Listed,
    *,
    progress: bool,
) -> Visuals:
    """What `visualize` writes."""
    config, dataset, stages = run_stages(folder, against, listed.data, seed=options.seed)
    if not any(len(stage.views.items) > 1 for stage in stages):
        raise RunError(
            f"{folder} has no view of its items but their ids ({method_label(config)}): give a run "
            "with an alignment, or of a backbone that reads content"
        )
    title_of = _titles(config, dataset, listed)
    chosen = chosen_items(dataset, listed.items)
    scenes = tuple(
        Scene(
            stage,
            items_picture(stage.views, stage.geometry.gaps, options),
            pairs_picture(stage.views, options),
            {item: nearest_items(stage.views, item, listed.neighbors) for item in chosen},
        )
        for stage in Bar(stages, desc="maps", disable=not progress)
    )
    ids = original_ids(dataset)
    named = dict.fromkeys(item for scene in scenes for item in _items_of(scene))
    names = {
        item: f"{ids[item]} · {title_of[item]}" if title_of.get(item) else str(ids[item])
        for item in named
    }
    return Visuals(dataset.name, dataset.modalities, options, scenes, names)


def _items_of(scene: Scene) -> list[int]:
    """The chosen items and all their neighbours."""
    near = [n.item for views in scene.near.values() for found in views.values() for n in found]
    return [*scene.near, *near]


def _titles(config: RunConfig, dataset: Dataset, listed: Listed) -> dict[int, str]:
    """Titles from the table given, else from beside the data; none where there are none."""
    found, columns = listed.titles or find_titles(config.path), listed.title_columns
    if found is None:
        if columns is not None:
            raise ConfigError("--title-columns names columns of a file: give --titles FILE too")
        return {}
    return read_titles(found, dataset, columns)
