"""Item-level alignment (ILA) with direction tuning (DT)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import require_positive_temperature
from ..tensors.functional import contrastive_sum, unit_rows
from ..tensors.ids import at_hand
from ..tensors.tables import xavier
from .base import ALIGNERS, Alignment, check_modalities, shared
from .batch import Batch, Views
from .checks import require_fit
from .directions import DirectionOptions, direction_name
from .feedback import feedback_scores, open_directions
from .loss import LearntTemperature, Loss
from .rules import variance


class ItemTerms(NamedTuple):
    """What `item_level` returns."""

    ila: Tensor
    """Scalar, cross-entropy of finding each item in the target modality."""
    dt: Tensor
    """Scalar, minus the gain in feedback score that the maps bring."""


def item_level(
    mean_user: Tensor,
    views: Views,
    maps: Mapping[tuple[int, int], nn.Module],
    temperature: Tensor,
    active: Tensor,
    scores: Tensor,
) -> ItemTerms:
    """Item-level alignment of distinct items (FETTLE eq. 3-6).

    Every active cell (direction, item) moves its source row through the direction's residual map
    and is asked to find the item among all rows of the target modality. Targets and users are
    detached.

    Args:
        mean_user: `(n, dim)` mean unit row of each item's users, detached.
        views: the `n` items in every modality.
        maps: `(source, target)` -> bias-free linear map of the direction.
        temperature: positive scalar.
        active: `(source, target, n)` bool, the open directions.
        scores: `(n_modalities, n)` feedback scores of `mean_user` and `views`, detached.
    """
    n_modalities, n_items = len(views.rows), len(mean_user)
    cells = _Cells.of(active)

    moving = torch.cat(views.rows).index_select(0, cells.source * n_items + cells.row)
    parts = iter(moving.split([size for line in cells.sizes for size in line]))
    mapped = [
        maps[s, t](next(parts)) if s != t else next(parts)
        for t in range(n_modalities)
        for s in range(n_modalities)
    ]
    moved = unit_rows(moving + torch.cat(mapped))
    weights = cells.weight.to(moved.dtype)

    per_target = [sum(line) for line in cells.sizes]
    columns = (x.split(per_target) for x in (moved, cells.row, weights))
    found = [
        contrastive_sum(
            rows, views.rows[t].detach(), row, temperature, weight, allowed=_present(views, t)
        )
        for t, (rows, row, weight) in enumerate(zip(*columns, strict=True))
    ]
    ila = torch.stack(found).sum() / max(n_items, 1)

    gain = (mean_user.index_select(0, cells.row) * moved).sum(1) - scores[cells.source, cells.row]
    share = weights / active.sum(2)[cells.source, cells.target].clamp_min(1)
    dt = -(gain * share).sum() / (n_modalities * (n_modalities - 1))
    return ItemTerms(ila, dt)


class _Cells(NamedTuple):
    """Directions of items, ordered by target, then source: those of a target share candidates."""

    target: Tensor
    """`(n_cells,)` int64"""
    source: Tensor
    """`(n_cells,)` int64"""
    row: Tensor
    """`(n_cells,)` int64, the item"""
    weight: Tensor
    """`(n_cells,)` bool, False for cells that are there and do not count"""
    sizes: list[list[int]]
    """number of cells by target and source"""

    @classmethod
    def of(cls, active: Tensor) -> _Cells:
        """The open directions `(source, target, n)`: on a CPU they alone.

        A GPU takes all and weighs the closed ones 0: the host would have to wait for the number of
        the open ones.
        """
        m, n = len(active), active.shape[2]
        if at_hand(active):
            target, source, row = active.transpose(0, 1).nonzero().unbind(1)
            sizes = active.sum(2).T.tolist()
        else:
            cell = torch.arange(m * (m - 1) * n, device=active.device)
            row, target = cell % n, cell // (n * (m - 1))
            source = cell // n % (m - 1)
            source = source + (source >= target)
            sizes = [[n * (s != t) for s in range(m)] for t in range(m)]
        return cls(target, source, row, active[source, target, row], sizes)


def _present(views: Views, modality: int) -> Tensor | None:
    return None if views.present is None else views.present[modality]


@dataclass(eq=False, repr=False)
class ILALoss(Loss, DirectionOptions, LearntTemperature):
    """Item-level alignment with direction tuning, terms `ila` and `dt`.

    FETTLE (SIGIR 2024) eq. 3-6: for every item the modality that explains its feedback less is
    pulled towards the one that explains it better. CROSS's dynamic rule (`leaky_bi=True`) also
    opens the reverse direction while the two are close and scores are uncertain; `directions`
    names further rules, see `directions.py`.

    Call it as published: `ila(user, item, *content, users, items)`. Users and targets get no
    gradient. Sum over active directions, divided by the number of distinct items in the batch.

    Args:
        dim: width of all tables.
        gamma: initial temperature; it is learnt and kept in [0.001, 0.5].
        leaky_bi: False for the one-way rule, True for the dynamic rule.

    Attributes:
        policy: the rule.
        maps: `{source}_to_{target}` -> bias-free `Linear(dim, dim)`, Xavier-uniform; `id` names
            the item table.
        temperature: scalar parameter.
    """

    dim: int = 64
    gamma: float = 0.1
    leaky_bi: bool = False
    modalities: Sequence[str] = ("image", "text")

    def __post_init__(self) -> None:
        check_modalities(self.modalities)
        require_positive_temperature("item-level alignment", self.gamma)
        self.modalities = tuple(self.modalities)
        views = self._views = ("id", *self.modalities)
        self.policy = self.make_policy(len(views), "dynamic" if self.leaky_bi else "one_way")
        self._directions = {
            (s, t): direction_name(source, target)
            for s, source in enumerate(views)
            for t, target in enumerate(views)
            if s != t
        }
        maps = {n: nn.Linear(self.dim, self.dim, bias=False) for n in self._directions.values()}
        self.maps = nn.ModuleDict({name: xavier(linear) for name, linear in maps.items()})
        initial = torch.tensor(float(self.gamma))
        self.temperature = nn.Parameter(initial, self.learn_temperature)
        self._shares: Tensor | None = None
        self._scores: Tensor | None = None

    def on(self, batch: Batch) -> dict[str, Tensor]:
        """The two parts of the loss, `ila` and `dt`."""
        views = batch.views
        maps = {pair: self.maps[name] for pair, name in self._directions.items()}
        a_map = next(self.maps.parameters())
        require_fit(self.dim, a_map, users=batch.user_rows, items=views.rows[0])
        with torch.no_grad():
            if self.temperature.requires_grad:
                self.temperature.clamp_(0.001, 0.5)
            scores = feedback_scores(batch.mean_user, views)
            active = open_directions(self.policy, batch, scores)
        # A copy, because the next call's clamp must not touch what this call's graph has saved.
        temperature = self.temperature.clone()
        ila, dt = item_level(batch.mean_user, views, maps, temperature, active, scores)
        self._shares = active.sum(2) / max(active.shape[2], 1)
        weight = torch.ones_like(scores) if views.present is None else views.present
        mean = scores.sum(1) / weight.sum(1).clamp_min(1)  # the score of a missing row is 0
        self._scores = torch.stack((mean, variance(scores, views.present)[0]))
        return {"ila": ila, "dt": dt}

    def diagnostics(self) -> dict[str, Tensor]:
        """Directions and scores of the last batch's items, and the temperature, detached.

        Keys `direction/{source}_to_{target}`, the share of items; `score/{modality}` and
        `score_variance/{modality}`, of the feedback scores; and `temperature/ila`.
        """
        state = {"temperature/ila": self.temperature.detach().clone()}
        if self._shares is not None:
            for (s, t), name in self._directions.items():
                state[f"direction/{name}"] = self._shares[s, t]
        if self._scores is not None:
            for name, (mean, spread) in zip(self._views, self._scores.T, strict=True):
                state |= {f"score/{name}": mean, f"score_variance/{name}": spread}
        return state


@dataclass(kw_only=True, eq=False, repr=False)
class ItemOptions(DirectionOptions):
    """Directions of an alignment at item level, and how much their tuning counts.

    Args:
        dt_weight: weight of direction tuning; None takes that of item-level alignment.
    """

    dt_weight: float | None = None

    def item_weights(self, weight: float) -> dict[str, float]:
        """Weights of the terms of `ILALoss`, given that of item-level alignment."""
        return {"ila": weight, "dt": weight if self.dt_weight is None else self.dt_weight}


@ALIGNERS.register("ila", paper="FETTLE, SIGIR 2024, eq. 3-6; CROSS, 2026")
@dataclass(kw_only=True, eq=False, repr=False)
class ItemAlignment(Alignment, ItemOptions, LearntTemperature):
    """Item-level alignment with direction tuning, under any rule for directions; see `ILALoss`.

    Args:
        weight: weight of item-level alignment; try 1e-4 to 1e-1.
        temperature: initial temperature, 0.05 to 0.25; learnt.
    """

    weight: float = 0.01
    temperature: float = 0.1

    def __post_init__(self, *data: Any) -> None:
        super().__post_init__(*data)
        options = shared(self, DirectionOptions) | shared(self, LearntTemperature)
        self.ila = ILALoss(self.dim, self.temperature, modalities=self.modalities, **options)
        self.weigh("ila", **self.item_weights(self.weight))
