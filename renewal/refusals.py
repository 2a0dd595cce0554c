"""What a run cannot take over from an earlier one, by the name of the setting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..config import RunConfig, load_config, to_plain
from ..datasets import Dataset
from ..errors import RunError
from ..fileio import read_json
from ..models import BACKBONES
from ..run_files import CONFIG_FILE, METRICS_FILE
from .rows import Ids

SHAPING = ("backbone", "alignment", "neighbors", "graph", "data")
"""Sections whose options may change what a model is made of."""


def refuse_other_parts(run: Path, config: RunConfig, dataset: Dataset) -> None:
    """Raise `RunError` for another backbone, another alignment, or other modalities than before."""
    before = load_config(run / CONFIG_FILE)
    for part in ("backbone", "alignment"):
        had, wanted = (_name(getattr(one, part)) for one in (before, config))
        if had != wanted:
            raise _refused(run, [f"{part} = {wanted} (it has {had})"])
    facts = read_json(run / METRICS_FILE).get("dataset_facts", {})
    there, here = list(facts.get("modalities", dataset.modalities)), list(dataset.modalities)
    reads = BACKBONES[config.backbone.name].cls.needs_features or config.alignment is not None
    if reads and there != here:
        raise _refused(
            run, [f"modalities {', '.join(here) or 'none'} (it has {', '.join(there) or 'none'})"]
        )


def refuse_other_shapes(
    run: Path, config: RunConfig, before: Mapping[str, Tensor], now: Mapping[str, Tensor], ids: Ids
) -> None:
    """Raise `RunError` unless tables have the names and shapes they had, but for users and items.

    It names the settings that were changed, or the table where none was.
    """
    odd = sorted(before.keys() ^ now.keys())
    odd += [name for name in now if name not in odd and not _fits(before[name], now[name], ids)]
    if not odd:
        return
    changed = list(_changed(load_config(run / CONFIG_FILE), config))
    if changed:
        raise _refused(run, changed)
    shapes = [list(one[odd[0]].shape) if odd[0] in one else "absent" for one in (now, before)]
    raise _refused(
        run, [f"content of another width, whereby {odd[0]} is {shapes[0]} (it has {shapes[1]})"]
    )


def _fits(before: Tensor, now: Tensor, ids: Ids) -> bool:
    if before.shape == now.shape:
        return True
    if not before.dim() or before.shape[1:] != now.shape[1:]:
        return False
    sizes = ((rows.n_before, len(rows.source)) for rows in (ids.user, ids.item))
    return (len(before), len(now)) in sizes


def _changed(before: RunConfig, now: RunConfig) -> Iterator[str]:
    """Settings that shape a model and differ, with both values."""
    had, wanted = to_plain(before), to_plain(now)
    for section in SHAPING:
        if not isinstance(wanted[section], dict) or not isinstance(had[section], dict):
            continue
        for key, value in wanted[section].items():
            earlier: Any = had[section].get(key)
            if earlier != value:
                yield f"{section}.{key} = {value} (it has {earlier})"


def _refused(run: Path, changed: list[str]) -> RunError:
    return RunError(
        f"{run} cannot be carried over to {', '.join(changed)}: keep that as it was, or train from "
        "nothing"
    )


def _name(part: Any) -> str:
    return part.name if part else "none"
