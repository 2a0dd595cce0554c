"""How finished runs rank items that they never trained on, alone and among all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..datasets import Dataset
from ..errors import RunError
from ..evaluation import BlockScorer, evaluate
from ..evaluation.scores import block_scorer
from ..pipeline import load_run
from ..progress import Bar
from ..references.base import REFERENCES
from ..renewal.content_map import fit_content_map
from ..report.numbers import Measure, measure
from ..report.text_table import text_table
from ..run_measures import representations, run_scores
from ..tensors.representations import Representations
from .finished import FinishedMethod

REFERENCE = "contentknn"
"""The line without training that every placing must beat."""
Scores = Representations | BlockScorer


@dataclass(frozen=True)
class Placed:
    """One way to score new items.

    Attributes:
        method: what was trained, or the reference line.
        placed: where vectors of new items come from: `as trained`, `content map` (as an export
            places them) or `content`.
        alone: metric -> mean where only new items are ranked.
        mixed: metric -> mean where they stand among all items.
    """

    method: str
    placed: str
    alone: Mapping[str, Measure]
    mixed: Mapping[str, Measure]


@dataclass(frozen=True)
class NewItemsReport:
    """New items of one data set.

    Attributes:
        data: its name.
        split: evaluated split.
        n_new: items without a training row.
        metrics: names of the metrics.
        ways: every method and placing.
    """

    data: str
    split: str
    n_new: int
    metrics: tuple[str, ...]
    ways: tuple[Placed, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """A table: each metric alone and mixed."""
        head = ["method", "new items by"]
        short = [name.replace("recall", "R").replace("ndcg", "N") for name in self.metrics]
        head += [f"{kind} {name}" for kind in ("alone", "mixed") for name in short]
        rows = [
            [way.method, way.placed]
            + [found[name].text() for found in (way.alone, way.mixed) for name in self.metrics]
            for way in self.ways
        ]
        title = f"{self.data}, {self.split}: {self.n_new:,} items that were never trained on"
        return [title, "", *text_table(head, rows)]


class OnlyItems:
    """Scores of some items; the others come last.

    Args:
        scores: of all items.
        items: `(n_items,)` bool, those that are ranked.
    """

    def __init__(self, scores: Scores, items: Tensor) -> None:
        self._scorer = block_scorer(scores)
        self.n_users, self.n_items = self._scorer.n_users, self._scorer.n_items
        self.dtype, self.device = self._scorer.dtype, self._scorer.device
        self._others = ~items.to(self.device)

    def __call__(self, users: Tensor, out: Tensor) -> None:
        """Write the scores of `users` into `out` `(n, n_items)`."""
        self._scorer(users, out)
        out[:, self._others] = torch.finfo(self.dtype).min


def new_items_report(
    methods: Sequence[FinishedMethod],
    *,
    k: int = 20,
    split: str = "test",
    progress: bool = True,
    data: str | None = None,
) -> NewItemsReport:
    """Evaluate finished runs on items without a training row; nothing is trained.

    Args:
        methods: finished runs with `data.split=new_items`, all on the same data.
        k: cut-off of the metrics.
        split: `valid` or `test`.
        progress: show a progress bar.
        data: where the data lie now, if they were moved.

    Raises:
        RunError: a run trained on some of the items it is tested on, or runs have other splits.
    """
    names = (f"recall@{k}", f"ndcg@{k}")
    first: Dataset | None = None
    found: list[Placed] = []
    bar = Bar(total=sum(len(m.folders) for m in methods), desc="runs", disable=not progress)
    with bar:
        for method in methods:
            runs: dict[str, list[tuple[dict[str, float], dict[str, float]]]] = {}
            for folder in method.folders:
                config, dataset, backbone = load_run(folder, data)
                first = first or dataset
                _require_new(folder, dataset, first, split)
                trained = run_scores(folder, config, dataset, backbone)
                ways = {"as trained": trained, **_by_content(representations(backbone), dataset)}
                for placed, scores in ways.items():
                    runs.setdefault(placed, []).append(_measured(scores, dataset, split, names))
                bar.update()
            found += [_averaged(method.label, placed, of) for placed, of in runs.items()]
    if first is None:
        raise RunError("there are no finished runs to evaluate: give folders that `train` wrote")
    if REFERENCES[REFERENCE].cls.usable(first):
        scores = _reference(first, names)
        measured = _measured(scores, first, split, names)
        found.append(_averaged(REFERENCE, "content", [measured]))
    new = int((~_trained(first)).sum())
    return NewItemsReport(first.name, split, new, names, tuple(found))


def _require_new(folder: Path, dataset: Dataset, first: Dataset, split: str) -> None:
    if bool(_trained(dataset)[dataset.split(split)[1]].any()):
        raise RunError(
            f"{folder} trained on items that it is tested on: train it with "
            "--set data.split=new_items"
        )
    if not torch.equal(dataset.split(split), first.split(split)):
        raise RunError(f"{folder} holds out other items than the first run: use one split_seed")


def _trained(dataset: Dataset) -> Tensor:
    """`(n_items,)` bool, items with a training row."""
    return dataset.train[1].bincount(minlength=dataset.n_items) > 0


def _by_content(model: Representations, dataset: Dataset) -> dict[str, Scores]:
    """The model with new items placed by the content map, if there is content."""
    if not dataset.features:
        return {}
    user, item = (table.detach().float().cpu().clone() for table in model)
    trained, content = _trained(dataset), (dataset.features, dataset.missing)
    to_vector = fit_content_map(item, *content, trained.nonzero().squeeze(1))
    item[~trained] = to_vector.of_rows(*content, ~trained)
    return {"content map": Representations(user, item)}


def _reference(dataset: Dataset, names: Sequence[str]) -> Scores:
    """Content kNN at the point of its grid that ranks the new items of validation best."""
    cls = REFERENCES[REFERENCE].cls
    ways = [cls(dataset, **point).scores() for point in cls.grid(dataset)]
    return max(ways, key=lambda scores: _measured(scores, dataset, "valid", names)[0][names[0]])


def _measured(
    scores: Scores, dataset: Dataset, split: str, names: Sequence[str]
) -> tuple[dict[str, float], dict[str, float]]:
    """Metrics of new items alone, and among all."""
    ks = [int(names[0].partition("@")[2])]
    both = (OnlyItems(scores, ~_trained(dataset)), scores)
    alone, mixed = (evaluate(one, dataset, split, ks) for one in both)
    return {name: alone[name] for name in names}, {name: mixed[name] for name in names}


def _averaged(
    method: str, placed: str, runs: Sequence[tuple[dict[str, float], dict[str, float]]]
) -> Placed:
    def mean(which: int) -> dict[str, Measure]:
        return {name: measure([run[which][name] for run in runs]) for name in runs[0][which]}

    return Placed(method, placed, mean(0), mean(1))
