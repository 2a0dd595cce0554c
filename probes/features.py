"""AlignRec's two protocols that need no training, over all features of a data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..datasets.dataset import Dataset
from ..evaluation import BlockScorer, Evaluator, Metrics
from ..progress import Bar
from ..references.inputs import content_table
from ..references.item_cf import SHRINK, item_cf_scores
from ..report.text_table import text_table
from ..tensors.representations import Representations
from .zero_shot import ZERO_SHOT, zero_shot_scores

CUTOFFS = (10, 20)
BLOCK_USERS = 1024
"""Users scored at a time; scoring by histories pays off in large blocks."""


@dataclass(frozen=True)
class ProtocolScore:
    """Metrics of one protocol on one choice of features."""

    protocol: str
    """`zero-shot mean`, `zero-shot max`, `zero-shot last` or `item-CF`."""
    modalities: tuple[str, ...]
    """The modalities whose features stand side by side."""
    metrics: Metrics


@dataclass(frozen=True)
class FeatureProbe:
    """What `probe_features` finds."""

    dataset: str
    split: str
    normalise: bool
    """Whether item-CF scaled the rows of each modality to length one."""
    shrink: float
    """Of item-CF."""
    scores: tuple[ProtocolScore, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "dataset": self.dataset,
            "split": self.split,
            "item_cf": {"normalise": self.normalise, "shrink": self.shrink},
            "scores": [
                {
                    "protocol": score.protocol,
                    "modalities": list(score.modalities),
                    "metrics": score.metrics.to_dict(),
                }
                for score in self.scores
            ],
        }

    def lines(self) -> list[str]:
        """The scores as text lines of at most 80 columns."""
        names = [f"{metric}@{k}" for metric in ("recall", "ndcg") for k in CUTOFFS]
        rows = [
            [
                f"{score.protocol:14s}  {'+'.join(score.modalities)}",
                *(f"{score.metrics[name]:.4f}" for name in names),
            ]
            for score in self.scores
        ]
        users = self.scores[0].metrics.n_users
        taken = "unit rows" if self.normalise else "raw features"
        return [
            f"{self.dataset}: features alone, {self.split} split, {users} users"[:80],
            *text_table([f"{'protocol':14s}  features", *names], rows),
            f"item-CF on {taken}, shrink {self.shrink:g}; all items ranked, training items masked",
        ]


def probe_features(
    dataset: Dataset,
    *,
    split: str = "test",
    normalise: bool = True,
    shrink: float = SHRINK,
    progress: bool = False,
) -> FeatureProbe:
    """Zero-shot and item-CF recommendation with each modality, and with all of them.

    Args:
        dataset: with features.
        split: `test` or `valid`.
        normalise: let item-CF scale each modality's rows to length one; False concatenates the
            raw features as the published code does, where the modality of largest scale decides.
        shrink: of item-CF.
        progress: show a bar.

    Raises:
        ConfigError: the data set has no features.
    """
    evaluator = Evaluator(dataset, split, CUTOFFS, block_users=BLOCK_USERS)
    choices: list[tuple[str, ...]] = [(name,) for name in dataset.modalities]
    if len(choices) != 1:
        choices.append(dataset.modalities)
    bar = Bar(total=len(choices) * (len(ZERO_SHOT) + 1), desc="probing", disable=not progress)
    scores = []
    with bar:
        for modalities in choices:
            for protocol, scorer in _protocols(dataset, modalities, normalise, shrink):
                scores.append(ProtocolScore(protocol, modalities, evaluator(scorer)))
                bar.update()
    scores.sort(key=lambda score: score.protocol == "item-CF")
    return FeatureProbe(dataset.name, split, normalise, shrink, tuple(scores))


def _protocols(
    dataset: Dataset, modalities: Sequence[str], normalise: bool, shrink: float
) -> Iterator[tuple[str, Representations | BlockScorer]]:
    """Every protocol with its scorer, one at a time."""
    table = content_table(dataset, modalities)
    for variant in ZERO_SHOT:
        yield f"zero-shot {variant}", zero_shot_scores(dataset, table, variant)
    if not normalise:
        table = content_table(dataset, modalities, normalise=False)
    yield "item-CF", item_cf_scores(dataset, table, shrink=shrink)
