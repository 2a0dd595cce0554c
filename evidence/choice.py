"""Which evidence, and how much of it: chosen on validation, once the model is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..datasets.dataset import Dataset
from ..errors import RunError
from ..evaluation import BlockScorer, Evaluator
from ..evaluation.metrics import average, parse_metric, user_metrics
from ..evaluation.scores import block_scorer
from ..fileio import read_json, write_json
from ..references.inputs import history_matrix
from ..run_files import EVIDENCE_FILE
from ..tensors.later import sp
from ..tensors.representations import Representations
from .kinds import PLUS, evidence_lists, parse_kinds, possible_kinds
from .options import AUTO, EvidenceOptions
from .stage import Candidates, EvidenceScorer, HistoryEvidence, LastBlock

WEIGHTS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1.0, 2.0, 4.0)
"""Those that validation chooses among, beside none at all."""


@dataclass(frozen=True)
class Point:
    """Evidence that was tried: its kind, its weight, and the validation metric."""

    kind: str
    weight: float
    value: float


@dataclass(frozen=True)
class Choice:
    """What a run adds to the scores of its model.

    Attributes:
        kind: a kind or a sum of several; that of the options, unless it is chosen.
        weight: 0 where no evidence helps.
        metric: that validation was judged by, or an empty string where nothing was chosen.
        tried: all points, in the order they were tried; the model alone has weight 0.
    """

    kind: str
    weight: float
    metric: str = ""
    tried: tuple[Point, ...] = ()

    def save(self, folder: Path) -> None:
        """Write `evidence.json` into a run folder."""
        write_json(folder / EVIDENCE_FILE, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> Choice:
        """Read it. Raises `RunError` if the run was not finished, or the file is damaged."""
        if not (folder / EVIDENCE_FILE).is_file():
            raise RunError(
                f"{folder} has no {EVIDENCE_FILE}: the run is not finished, train it to its end"
            )
        try:
            raw: Mapping[str, Any] = read_json(folder / EVIDENCE_FILE)
            tried = tuple(Point(**point) for point in raw["tried"])
            return cls(raw["kind"], float(raw["weight"]), raw["metric"], tried)
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"{folder / EVIDENCE_FILE} is damaged ({error}): make the run again"
            ) from None


class Stage:
    """Everything that adding evidence to a model's scores takes, of one data set.

    Lists of a kind are made when they are first asked for.

    Args:
        scores: of the model.
        dataset: its training split is the histories.
        options: of the evidence.
    """

    def __init__(
        self, scores: Representations | BlockScorer, dataset: Dataset, options: EvidenceOptions
    ) -> None:
        self.dataset, self.options = dataset, options
        self.history = history_matrix(dataset)
        self.model = block_scorer(scores)
        self._block = LastBlock(Candidates(self.model, self.history, options.candidates))
        self._lists: dict[str, sp.csr_matrix] = {}
        self._evidence: dict[str, LastBlock[Tensor]] = {}

    def lists(self, name: str) -> sp.csr_matrix:
        """`(n_items, n_items)` lists of one kind."""
        if name not in self._lists:
            self._lists[name] = evidence_lists(name, self.dataset, self.options)
        return self._lists[name]

    def scorer(self, kind: str, weight: float) -> EvidenceScorer:
        """Final scores with the evidence of a kind, or of a sum of kinds."""
        if kind not in self._evidence:
            lists = [self.lists(name) for name in parse_kinds(kind)]
            self._evidence[kind] = LastBlock(HistoryEvidence(self.history, lists))
        return EvidenceScorer(self.model, self._block, self._evidence[kind], weight)

    def choose(self, metric: str, *, progress: bool = False) -> Choice:
        """Kind and weight with the highest validation metric, of what the options leave open.

        With `auto`, all kinds that can be made are tried one by one, then the best of them with
        each other one; the first of equal points is taken, and the model alone is the first.

        Args:
            metric: such as `recall@20`.
            progress: show a bar.
        """
        options = self.options
        auto = options.kind == AUTO
        kinds = possible_kinds(self.dataset, options) if auto else [options.kind]
        if not auto and options.weight is not None:
            parse_kinds(options.kind)
            return Choice(options.kind, options.weight)
        weights = WEIGHTS if options.weight is None else (options.weight,)
        tried = self.try_out([(kinds[0], 0.0)], metric, progress=progress)
        tried += self.try_out([(k, w) for k in kinds for w in weights], metric, progress=progress)
        if auto:
            best = _best(tried)
            pairs = [PLUS.join((best.kind, kind)) for kind in kinds if kind != best.kind]
            points = [(kind, weight) for kind in pairs for weight in weights]
            tried += self.try_out(points, metric, progress=progress)
        best = _best(tried)
        return Choice(best.kind, best.weight, metric, tuple(tried))

    def try_out(
        self, points: Sequence[tuple[str, float]], metric: str, *, progress: bool = False
    ) -> list[Point]:
        """The validation metric of kinds and weights: one pass over the users for all of them."""
        name, k = parse_metric(metric)
        evaluator = Evaluator(self.dataset, "valid", [k])
        scorers = [self.scorer(kind, weight) for kind, weight in points]
        ranks = evaluator.ranks_of_each(scorers, progress=progress)
        values = [
            average(user_metrics(found, evaluator.counts, evaluator.ks), evaluator.ks)
            for found in ranks
        ]
        return [
            Point(kind, weight, value[f"{name}@{k}"])
            for (kind, weight), value in zip(points, values, strict=True)
        ]


def _best(points: Sequence[Point]) -> Point:
    return max(points, key=lambda point: point.value)
