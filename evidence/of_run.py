"""Final scores of a run: its model's, and the evidence that it adds to them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import RunConfig
from ..datasets.dataset import Dataset
from ..evaluation import BlockScorer, Metrics, evaluate
from ..evaluation.per_user import USERS_FILE, evaluate_users, save_user_metrics
from ..models.base import Representations
from .choice import Choice, Stage
from .options import NONE

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
    model: Representations, config: RunConfig, dataset: Dataset, folder: Path
) -> Representations | BlockScorer:
    """The scores by which a finished run ranks: with the evidence that lies in its folder.

    Raises:
        RunError: the run should have evidence, and the file that says which is not there.
    """
    if config.evidence.kind == NONE:
        return model
    choice = Choice.load(folder)
    return Stage(model, dataset, config.evidence).scorer(choice.kind, choice.weight)


def measure_run(
    model: Representations,
    config: RunConfig,
    dataset: Dataset,
    folder: Path,
    *,
    progress: bool = False,
) -> Measured:
    """Choose the evidence on validation, evaluate, and leave both in the run folder.

    Args:
        model: representations of the trained backbone.
        config: the whole configuration.
        dataset: the data of the run.
        folder: gets the metrics of single users and, with evidence, `evidence.json`.
        progress: show a bar.
    """
    ks = config.evaluation.ks
    if config.evidence.kind == NONE:
        test, by_user = evaluate_users(model, dataset, "test", ks)
        save_user_metrics(folder / USERS_FILE, by_user)
        return Measured(evaluate(model, dataset, "valid", ks), test, {})
    stage = Stage(model, dataset, config.evidence)
    choice = stage.choose(config.training.monitor, progress=progress)
    scores = stage.scorer(choice.kind, choice.weight)
    test, by_user = evaluate_users(scores, dataset, "test", ks)
    save_user_metrics(folder / USERS_FILE, by_user)
    choice.save(folder)
    alone = {s: evaluate(model, dataset, s, ks).to_dict() for s in ("valid", "test")}
    about = {
        "kind": choice.kind,
        "weight": choice.weight,
        "candidates": config.evidence.candidates,
    }
    more = {"evidence": about, WITHOUT: alone}
    return Measured(evaluate(scores, dataset, "valid", ks), test, more)
