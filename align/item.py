"""Item-level alignment (ILA) with direction tuning (DT)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import ConfigError, require_positive_temperature
from ..tensors.functional import contrastive_sum, full_precision, unit_rows
from ..tensors.ids import at_hand
from ..tensors.tables import read_rows, xavier
from .base import check_modalities
from .dynamic import variance
from .policies import Directions, Feedback, Spread, SpreadOver, ThetaOf
from .rows import ItemViews, Missing, Pairs, mean_users, missing_masks, require_width, row_lengths
from .rules import direction_policy
from .scores import direction_name, feedback_scores, user_variance


class ItemTerms(NamedTuple):
    """What `item_level` returns."""

    ila: Tensor
    """Scalar, cross-entropy of finding each item in the target modality."""
    dt: Tensor
    """Scalar, minus the gain in feedback score that the maps bring."""


def item_level(
    mean_user: Tensor,
    views: ItemViews,
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


def _present(views: ItemViews, modality: int) -> Tensor | None:
    return None if views.present is None else views.present[modality]


class ILALoss(nn.Module):
    """Item-level alignment with direction tuning, `ILA + DT`.

    FETTLE (SIGIR 2024) eq. 3-6: for every item the modality that explains its feedback less is
    pulled towards the one that explains it better. CROSS's dynamic rule (`leaky_bi=True`) also
    opens the reverse direction while the two are close and scores are uncertain; `directions`
    names further rules, see `policies`.

    Call it as published: `ila(user, item, *content, users, items)`. Users and targets get no
    gradient. Sum over active directions, divided by the number of distinct items in the batch.

    Args:
        dim: width of all tables.
        gamma: initial temperature; it is learnt and kept in [0.001, 0.5].
        leaky_bi: False for the one-way rule, True for the dynamic rule.
        modalities: names of the content tables, in the order of the call.
        directions: name of the rule; None takes the one that `leaky_bi` says.
        theta: score above which the rule `threshold` opens the reverse direction too.
        theta_of: whose score that is, the `source`, the `target`, or `either`.
        spread: uncertainty of the rule `dynamic`, `variance` or `std`.
        spread_over: of the scores of the `batch`'s items, or of those of each item's `users`.
        compensate_both: let the rule `dynamic` compensate the source's score too.
        spread_decay: share that the rule `dynamic` keeps of earlier batches' spread.
        feedback: what directions compare: mean `cosine`, or mean `inner_product` of users and item
            as eq. 2 is printed, so that longer rows win. All else is of unit rows in any case.
        learn_temperature: False keeps the temperature constant, as the paper says.

    Attributes:
        policy: the rule.
        maps: `{source}_to_{target}` -> bias-free `Linear(dim, dim)`, Xavier-uniform; `id` names
            the item table.
        temperature: scalar parameter.
    """

    def __init__(
        self,
        dim: int = 64,
        gamma: float = 0.1,
        leaky_bi: bool = False,
        modalities: Sequence[str] = ("image", "text"),
        *,
        directions: Directions | None = None,
        theta: float = 0.9,
        theta_of: ThetaOf = "source",
        spread: Spread = "variance",
        spread_over: SpreadOver = "batch",
        compensate_both: bool = False,
        spread_decay: float = 0.0,
        feedback: Feedback = "cosine",
        learn_temperature: bool = True,
    ) -> None:
        super().__init__()
        check_modalities(modalities)
        require_positive_temperature("item-level alignment", gamma)
        self.dim = dim
        self.modalities = tuple(modalities)
        views = self._views = ("id", *self.modalities)
        self.policy = direction_policy(
            directions or ("dynamic" if leaky_bi else "one_way"),
            len(views),
            theta=theta,
            theta_of=theta_of,
            spread=spread,
            spread_over=spread_over,
            compensate_both=compensate_both,
            spread_decay=spread_decay,
            feedback=feedback,
        )
        self._directions = {
            (s, t): direction_name(source, target)
            for s, source in enumerate(views)
            for t, target in enumerate(views)
            if s != t
        }
        self.maps = nn.ModuleDict(
            {name: xavier(nn.Linear(dim, dim, bias=False)) for name in self._directions.values()}
        )
        self.temperature = nn.Parameter(torch.tensor(float(gamma)), learn_temperature)
        self._shares: Tensor | None = None
        self._scores: Tensor | None = None

    def forward(self, user: Tensor, item: Tensor, *tables: Any, missing: Missing = None) -> Tensor:
        """`ILA + DT`, a scalar; arguments as in `terms`."""
        terms = self.terms(user, item, *tables, missing=missing)
        return terms["ila"] + terms["dt"]

    @full_precision
    def terms(
        self, user: Tensor, item: Tensor, *tables: Any, missing: Missing = None
    ) -> dict[str, Tensor]:
        """The two parts of the loss, `{"ila": ..., "dt": ...}`.

        Args:
            user: `(n_users, dim)`.
            item: `(n_items, dim)`, the `id` modality.
            tables: one `(n_items, dim)` table per content modality, then `users` and `items`,
                `(batch,)` int64 each.
            missing: `(n_items,)` bool masks of items that lack a modality, by name or in order.

        Raises:
            ConfigError: the number of content tables differs from `modalities`.
        """
        *content, users, items = tables
        if len(content) != len(self.modalities):
            raise ConfigError(
                f"ILALoss was built for {len(self.modalities)} content modalities "
                f"({', '.join(self.modalities)}) and called with {len(content)} tables"
            )
        pairs = Pairs.of(users, items)
        masks = missing_masks(missing, self.modalities, len(content))
        views = ItemViews.gather(item, content, pairs.items, masks)
        with torch.no_grad():
            user_rows = read_rows(user, pairs.users)
            user_lengths = row_lengths(user_rows)
        return self.on_rows(unit_rows(user_rows), user_lengths, views, pairs)

    def on_rows(
        self, user_rows: Tensor, user_lengths: Tensor, views: ItemViews, pairs: Pairs
    ) -> dict[str, Tensor]:
        """The loss on rows that are gathered and normalised already."""
        require_width(self.dim, users=user_rows, items=views.rows[0])
        with torch.no_grad():
            if self.temperature.requires_grad:
                self.temperature.clamp_(0.001, 0.5)
            mean_user = mean_users(user_rows, pairs)
            scores = feedback_scores(mean_user, views)
            active = self._open(scores, user_rows, user_lengths, views, pairs)
        maps = {pair: self.maps[name] for pair, name in self._directions.items()}
        # A copy, because the next call's clamp must not touch what this call's graph has saved.
        temperature = self.temperature.clone()
        ila, dt = item_level(mean_user, views, maps, temperature, active, scores)
        self._shares = active.sum(2) / max(active.shape[2], 1)
        weight = torch.ones_like(scores) if views.present is None else views.present
        mean = scores.sum(1) / weight.sum(1).clamp_min(1)  # the score of a missing row is 0
        self._scores = torch.stack((mean, variance(scores, views.present)[0]))
        return {"ila": ila, "dt": dt}

    def _open(
        self,
        scores: Tensor,
        user_rows: Tensor,
        user_lengths: Tensor,
        views: ItemViews,
        pairs: Pairs,
    ) -> Tensor:
        """The directions that the policy opens, `(source, target, n)` bool."""
        if self.policy.feedback == "inner_product":
            user_rows, views = user_rows * user_lengths.unsqueeze(1), views.unscaled()
            scores = feedback_scores(mean_users(user_rows, pairs), views)
        spread = user_variance(user_rows, views, pairs) if self.policy.over_users else None
        return self.policy(scores, views.present, user_variance=spread)

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
