"""Final scores of a run: its model's, and the evidence that it adds to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..datasets.dataset import Dataset
from ..evaluation import BlockScorer, Metrics, evaluate
from ..evaluation.per_user import evaluate_users, save_user_metrics
from ..run_files import USERS_FILE
from ..tensors.representations import Representations
from .choice import Choice, Stage
from .options import NONE, EvidenceOptions

WITHOUT = "without_evidence"
"""Entry of `metrics.json` with the metrics of the model alone."""


@dataclass(frozen=True)
class Measured:
    """A run's metrics with all that it adds to its model.

    Attributes:
        valid: on validation.
        test: on test.
        more: further entries of `metrics.json`: the evidence, and what the model has without it.
    """

    valid: Metrics
    test: Metrics
    more: dict[str, Any]


def final_scores(
    model: Representations, dataset: Dataset, options: EvidenceOptions, folder: Path
) -> Representations | BlockScorer:
    """The scores by which a finished run ranks: with the evidence that lies in its folder.

    Raises:
        RunError: the run should have evidence, and the file that says which is not there.
    """
    if options.kind == NONE:
        return model
    choice = Choice.load(folder)
    return Stage(model, dataset, options).scorer(choice.kind, choice.weight)


def measure_run(
    model: Representations,
    dataset: Dataset,
    options: EvidenceOptions,
    folder: Path,
    *,
    monitor: str,
    ks: Sequence[int],
    progress: bool = False,
) -> Measured:
    """Choose the evidence on validation, evaluate, and leave both in the run folder.

    Args:
        model: representations of the trained backbone.
        dataset: the data of the run.
        options: of the evidence.
        folder: gets the metrics of single users and, with evidence, `evidence.json`.
        monitor: validation metric by which evidence is chosen.
        ks: cut-offs of the metrics.
        progress: show a bar.
    """
    scores: Representations | BlockScorer = model
    more: dict[str, Any] = {}
    if options.kind != NONE:
        stage = Stage(model, dataset, options)
        choice = stage.choose(monitor, progress=progress)
        choice.save(folder)
        scores = stage.scorer(choice.kind, choice.weight)
        about = {"kind": choice.kind, "weight": choice.weight, "candidates": options.candidates}
        alone = {s: evaluate(model, dataset, s, ks).to_dict() for s in ("valid", "test")}
        more = {"evidence": about, WITHOUT: alone}
    test, by_user = evaluate_users(scores, dataset, "test", ks)
    save_user_metrics(folder / USERS_FILE, by_user)
    return Measured(evaluate(scores, dataset, "valid", ks), test, more)
