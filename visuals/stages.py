"""The two stages that are shown side by side: before alignment, and after."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ..components import make_alignment, make_backbone, make_graph
from ..config import RunConfig
from ..datasets import Dataset
from ..errors import RunError
from ..pipeline import load_aligned_run
from ..probes import GeometryProbe, Views, probe_geometry, run_views
from ..studies.methods import method_label
from ..training import seed_everything


@dataclass(frozen=True)
class Stage:
    """What is seen at one moment.

    Attributes:
        label: how the page calls it.
        folder: run folder that the numbers come from.
        views: unit rows of users and items.
        geometry: gaps between the views, over all items.
    """

    label: str
    folder: Path
    views: Views
    geometry: GeometryProbe


def run_stages(
    folder: str | Path, against: str | Path | None = None, data: str | None = None, *, seed: int = 0
) -> tuple[RunConfig, Dataset, tuple[Stage, Stage]]:
    """Configuration and data of a run, and the stages before and after.

    Args:
        folder: the run that is shown after.
        against: the run that is shown before; None takes the first run as it was initialised,
            before its training.
        data: where the data of the runs lie now, if they were moved.
        seed: of the samples behind the gap numbers.

    Raises:
        RunError: a folder is not a run, or both were not trained on the same interactions.
    """
    config, dataset, backbone, alignment = load_aligned_run(folder, data)
    trained = run_views(dataset, backbone, alignment)
    if against is None:
        labels = ("before training", "after training")
        first, source = _untrained(config, dataset), Path(folder)
    else:
        other, other_data, other_backbone, other_alignment = load_aligned_run(against, data)
        if not _same_interactions(dataset, other_data):
            raise RunError(
                f"{against} and {folder} were not trained on the same interactions: give two runs "
                "on the same data and split"
            )
        labels = (f"before: {method_label(other)}", f"after: {method_label(config)}")
        first = run_views(other_data, other_backbone, other_alignment)
        source = Path(against)
    stages = (
        Stage(labels[0], source, first, probe_geometry(first, seed=seed)),
        Stage(labels[1], Path(folder), trained, probe_geometry(trained, seed=seed)),
    )
    return config, dataset, stages


def _untrained(config: RunConfig, dataset: Dataset) -> Views:
    """The views that `pipeline.train` starts from."""
    seed_everything(config.seed)
    backbone = make_backbone(config, make_graph(config, dataset), dataset)
    alignment = make_alignment(config, dataset, backbone)
    if alignment is not None:
        alignment.eval()
    return run_views(dataset, backbone, alignment)


def _same_interactions(one: Dataset, other: Dataset) -> bool:
    sizes = (one.n_users, one.n_items) == (other.n_users, other.n_items)
    return sizes and torch.equal(one.train, other.train)
