"""A run that starts where an earlier one ended, on newer data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..align import Alignment
from ..config import RunConfig, load_config
from ..datasets import Dataset
from ..errors import RunError
from ..evaluation.scores import BlockScorer
from ..models import Backbone
from ..run_data import data_of_run
from ..run_files import CATALOGUE_FILE, CONFIG_FILE, METRICS_FILE
from ..run_folder import require_run
from ..tensors.representations import Representations
from ..training.checkpoint import read_moments, read_weights
from ..training.replay import make_replay
from .catalogue import Catalogue, K, all_rows, moved_share
from .placing import content_tables, place_new_rows
from .refusals import refuse_other_parts, refuse_other_shapes
from .rows import Ids, Moments, RowMap, carry_moments, side_of_tables

MOST_LEAKED = 0.01
"""Share of the held-out rows that an earlier run may have been trained on."""


@dataclass(frozen=True)
class WarmStart:
    """What a run took over, beside the weights that its modules hold already.

    Attributes:
        run: folder of the earlier run.
        before: its catalogue.
        ids: who is who.
        moments: Adam's, by parameter of the new run.
        placed: how new items and new users were placed.
        leaked: held-out rows that it was trained on.
        seen: `(n_pairs,)` bool, training pairs that it was trained on.
    """

    run: str
    before: Catalogue
    ids: Ids
    moments: Moments
    placed: Mapping[str, str]
    leaked: int
    seen: Tensor

    def summary(self, dataset: Dataset, scores: Representations | BlockScorer) -> dict[str, Any]:
        """What the new run says of its start: counts, and how lists of unchanged users moved.

        Args:
            dataset: the new data.
            scores: of the trained new run.
        """
        share, users = moved_share(self.before, dataset, scores)
        return {
            "run": self.run,
            "users": self.ids.user.counts() | {"new_placed_by": self.placed["users"]},
            "items": self.ids.item.counts() | {"new_placed_by": self.placed["items"]},
            "held_out_rows_trained_before": self.leaked,
            f"lists_moved@{K}": share,
            "unchanged_users": users,
        }


def warm_start(
    config: RunConfig, dataset: Dataset, backbone: Backbone, alignment: Alignment | None
) -> WarmStart | None:
    """Give modules the weights of the run `config.start_from`, ids matched by what they are.

    Known users and items keep their rows and moments, whatever their numbers; everything without
    rows, such as projectors and prototypes, is taken as it is. New items are placed by their
    content, new users by what they have. Weights are those of the best epoch, moments those of the
    last one, which is all that a run keeps.

    Args:
        config: of the new run.
        dataset: its data.
        backbone: freshly made on them; changed in place.
        alignment: likewise, or None.

    Returns:
        None where the configuration names no earlier run.

    Raises:
        RunError: there is no finished run, nobody is in both, what was changed since cannot be
            carried over, or rows held out here are training rows there.
        ConfigError: `training.replay` without an earlier run.
    """
    if config.start_from is None:
        make_replay(config.training, None)  # which it may be asked for by mistake
        return None
    run = require_run(Path(config.start_from))
    if not (run / METRICS_FILE).is_file():
        raise RunError(f"{run} holds no finished run: resume it, then start from it")
    refuse_other_parts(run, config, dataset)
    before = _catalogue(run)
    now = Catalogue.of(dataset)
    ids = Ids(
        RowMap.of_ids(before.user_ids, now.user_ids), RowMap.of_ids(before.item_ids, now.item_ids)
    )
    _refuse_strangers(run, before, now, ids)
    seen = _trained_before(before, dataset, ids)
    n_train = dataset.train.shape[1]
    leaked = _refuse_leaks(run, seen[n_train:])

    modules = nn.ModuleDict({"backbone": backbone})
    if alignment is not None:
        modules["alignment"] = alignment
    weights, fresh = read_weights(run), modules.state_dict()
    refuse_other_shapes(run, config, weights, fresh, ids)
    sides = side_of_tables(backbone, weights, fresh, ids)
    tables = {
        name: ids.of(sides[name]).moved(weights[name], table) if name in sides else weights[name]
        for name, table in fresh.items()
    }
    free = {name: side for name, side in sides.items() if name not in content_tables(backbone)}
    placed = place_new_rows(tables, free, ids, dataset, config.seed)
    modules.load_state_dict(tables)
    moments = _moments(run, modules, weights)
    return WarmStart(
        str(run), before, ids, carry_moments(moments, sides, ids), placed, leaked, seen[:n_train]
    )


def seen_by(start: WarmStart | None) -> Tensor | None:
    """Which training pairs the earlier run was trained on; None for a run from nothing."""
    return None if start is None else start.seen


def moments_of(start: WarmStart | None) -> Moments | None:
    """Adam's moments that a run begins with; None for one from nothing."""
    return None if start is None else start.moments


def _catalogue(run: Path) -> Catalogue:
    """That of a run; of one that kept none, from its data, if they are still the same."""
    if (run / CATALOGUE_FILE).is_file():
        return Catalogue.load(run)
    _, dataset = data_of_run(run, load_config(run / CONFIG_FILE))
    return Catalogue.of(dataset)


def _moments(run: Path, modules: nn.Module, weights: Mapping[str, Tensor]) -> Moments:
    """Adam's moments by the name of their parameter."""
    trained = [name for name, p in modules.named_parameters() if p.requires_grad]
    states = read_moments(run)
    found = {}
    for number, state in states.items():
        name = trained[number] if number < len(trained) else ""
        for part in ("exp_avg", "exp_avg_sq"):
            if name not in weights or state[part].shape != weights[name].shape:
                raise RunError(f"{run} has a checkpoint of another model than its weights: restore")
        found[name] = dict(state)
    return found


def _refuse_strangers(run: Path, before: Catalogue, now: Catalogue, ids: Ids) -> None:
    for what, rows, there, here in (
        ("user", ids.user, before.user_ids, now.user_ids),
        ("item", ids.item, before.item_ids, now.item_ids),
    ):
        if not rows.known.any():
            raise RunError(
                f"no {what} of {run} is in these data ('{there[0]}' there, '{here[0]}' here): give "
                "data with the same ids, or train from nothing"
            )


def _trained_before(before: Catalogue, dataset: Dataset, ids: Ids) -> Tensor:
    """Which pairs of all splits the earlier run was trained on, `(n,)` bool, training first."""
    places = []
    for rows, numbers in ((ids.user, before.rows[0]), (ids.item, before.rows[1])):
        place = torch.full((rows.n_before,), -1)
        place[rows.source[rows.known]] = rows.known.nonzero().squeeze(1)
        places.append(place[torch.from_numpy(numbers[before.trained]).long()])
    users, items = places
    there = (users >= 0) & (items >= 0)
    trained = users[there] * dataset.n_items + items[there]
    now_users, now_items = all_rows(dataset)
    return torch.isin(now_users * dataset.n_items + now_items, trained)


def _refuse_leaks(run: Path, held_out: Tensor) -> int:
    """How many held-out rows, of which it says so, the earlier run was trained on, if not many."""
    leaked = int(held_out.sum())
    if leaked > MOST_LEAKED * len(held_out):
        raise RunError(
            f"{leaked} of {len(held_out)} rows held out here are training rows of {run}, so "
            "scores would be too good: hold out what is newest (data.split=global_time, or a split "
            "column), or train from nothing"
        )
    return leaked
