"""Geometry of representations: how close are matched rows, how spread out are all?

And how far apart do the modalities stay, the alignment gap?
"""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from typing import Any

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from ..models.directau import uniformity
from ..report.text_table import text_table
from .views import Views

SAMPLE = 4000
"""Rows that all-pairs and classifier measures are taken on."""


@dataclass(frozen=True)
class Gap:
    """Two views of the same items."""

    first: str
    second: str
    cosine: float
    """Mean cosine of the two rows of an item."""
    unmatched: float
    """Mean cosine of rows of different items: what `cosine` would be by chance."""
    centroid_distance: float
    """Distance of the mean unit rows (the modality gap of Liang et al., NeurIPS 2022)."""


@dataclass(frozen=True)
class GeometryProbe:
    """What `probe_geometry` finds."""

    alignment: float
    """Mean squared distance of the unit rows of interacting users and items (Wang and Isola,
    ICML 2020); lower is closer."""
    uniformity_user: float
    """Log of the mean Gaussian potential of pairs of users; lower is more spread out."""
    uniformity_item: float
    """Likewise of items."""
    gaps: tuple[Gap, ...]
    modality_accuracy: float | None
    """Share of rows whose view a linear classifier tells, on items it was not fitted to; None
    with a single view."""
    chance: float | None
    """What guessing gives: one over the number of views."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Text lines of at most 80 columns."""
        lines = [
            f"alignment of interacting users and items  {self.alignment:.4f}",
            f"uniformity of users                       {self.uniformity_user:.4f}",
            f"uniformity of items                       {self.uniformity_item:.4f}",
        ]
        if self.gaps:
            rows = [
                [
                    f"{gap.first} ~ {gap.second}",
                    *(f"{v:.3f}" for v in (gap.cosine, gap.unmatched, gap.centroid_distance)),
                ]
                for gap in self.gaps
            ]
            head = [f"{'gap':20s}", "cosine", "unmatched", "centroid distance"]
            lines += ["", *text_table(head, rows)]
            lines.append(
                f"a linear probe tells the view of {self.modality_accuracy:.1%} of rows "
                f"(chance {self.chance:.1%})"
            )
        return lines


def probe_geometry(views: Views, *, seed: int = 0) -> GeometryProbe:
    """Measure the views of a run.

    Args:
        views: of a trained run.
        seed: of the samples.
    """
    names = list(views.items)
    generator = torch.Generator().manual_seed(seed)
    return GeometryProbe(
        alignment=alignment(views),
        uniformity_user=float(uniformity(sample(views.user, generator))),
        uniformity_item=float(uniformity(sample(views.items["id"], generator))),
        gaps=tuple(gap(views, *pair) for pair in itertools.combinations(names, 2)),
        modality_accuracy=modality_accuracy(views, generator) if len(names) > 1 else None,
        chance=1 / len(names) if len(names) > 1 else None,
    )


def alignment(views: Views) -> float:
    """Mean squared distance over the training pairs, `2 - 2 cos`."""
    total = 0.0
    for users, items in zip(*(ids.split(1 << 16) for ids in views.pairs), strict=True):
        total += float((views.user[users] - views.items["id"][items]).square().sum())
    return total / views.pairs.shape[1]


def sample(rows: Tensor, generator: torch.Generator) -> Tensor:
    """At most `SAMPLE` random rows."""
    return rows[torch.randperm(len(rows), generator=generator)[:SAMPLE]]


def gap(views: Views, first: str, second: str) -> Gap:
    """The items that both views have."""
    both = views.both(first, second)
    left, right = views.items[first][both], views.items[second][both]
    matched = (left * right).sum(dim=1)
    n = len(both)
    mean_left, mean_right = left.mean(dim=0), right.mean(dim=0)
    # all n^2 cosines sum to n^2 <mean, mean>; leave out the n matched ones
    unmatched = (n * n * float(mean_left @ mean_right) - float(matched.sum())) / max(n * (n - 1), 1)
    return Gap(
        first,
        second,
        cosine=float(matched.mean()),
        unmatched=unmatched,
        centroid_distance=float((mean_left - mean_right).norm()),
    )


def modality_accuracy(views: Views, generator: torch.Generator) -> float:
    """Accuracy of a logistic regression from unit rows to view names.

    It is fitted to all views of one half of a sample of items and judged on the other half, so
    that it cannot remember items.
    """
    complete = torch.stack(list(views.present.values())).all(dim=0).nonzero().squeeze(1)
    chosen = sample(complete, generator)
    halves = chosen.tensor_split(2)
    rows = [torch.cat([table[half] for table in views.items.values()]) for half in halves]
    labels = [torch.arange(len(views.items)).repeat_interleave(len(half)) for half in halves]
    probe = LogisticRegression(max_iter=1000).fit(rows[0].numpy(), labels[0].numpy())
    return float(probe.score(rows[1].numpy(), labels[1].numpy()))
