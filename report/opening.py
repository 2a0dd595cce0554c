"""What a training starts from and what can follow it, in lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from shlex import quote

from ..config import RunConfig
from ..datasets import SPLITS, Dataset


def opening_lines(dataset: Dataset) -> list[str]:
    """Three lines: the data, the modalities and how much they cover, the split and its rule."""
    counts = {split: dataset.split(split).shape[1] for split in SPLITS}
    parts = ", ".join(f"{split} {count:,}" for split, count in counts.items())
    data = (
        f"{dataset.name}: {dataset.n_users:,} users, {dataset.n_items:,} items, "
        f"{sum(counts.values()):,} interactions"
    )
    rule = f": {dataset.split_rule}" if dataset.split_rule else ""
    return [
        f"data     {data}",
        f"content  {'; '.join(_coverage(dataset)) or 'none'}",
        f"split    {parts}{rule}",
    ]


def _coverage(dataset: Dataset) -> Iterator[str]:
    for modality in dict.fromkeys((*dataset.modalities, *dataset.item_graphs)):
        ready = " and a ready graph" if modality in dataset.item_graphs else ""
        table = dataset.features.get(modality)
        if table is None:
            yield f"{modality}: a ready graph alone"
            continue
        lacking = int(dataset.missing[modality].sum()) if modality in dataset.missing else 0
        whom = f"{1 - lacking / dataset.n_items:.1%} of the items" if lacking else "all items"
        yield f"{modality} of {whom}, {table.shape[1]} columns{ready}"


def next_lines(
    config: RunConfig, folder: Path, best_epoch: int, epochs: int, *, reads: bool
) -> list[str]:
    """Commands that a new user may want after a training.

    Args:
        config: of the run.
        folder: of the run.
        best_epoch: the one whose weights were kept.
        epochs: how many were trained.
        reads: whether the data have content that an alignment could read.
    """
    run, other = str(folder), "none" if config.alignment else "cross"
    new = f"{quote(f'{run}-{other}')}"
    again = f"train --config {quote(f'{run}/config.yaml')} --alignment {other} --out {new}"
    commands = {
        f"visualize {quote(run)}": "maps of the items, before training and after",
        f"export {quote(run)} --out {quote(f'{run}-export')}": "vectors and an index to serve from",
    }
    compared = config.data.hold_out and config.start_from is None  # both begin with other weights
    if compared and (config.alignment or reads):
        commands[again] = "the backbone alone" if config.alignment else "with an alignment"
    if config.data.hold_out:
        refit = f"train --refit {quote(run)} --out {quote(f'{run}-all')}"
        commands[refit] = "the same on all rows, to be shipped"
    if best_epoch == epochs and config.data.hold_out:
        more = f"train --resume {quote(run)} --set training.epochs={2 * epochs}"
        commands = {more: "not converged, the last epoch was the best: go on", **commands}
    return ["next", *(f"  {why}\n    crossalign {line}" for line, why in commands.items())]
