"""What a trained model scores: metrics by split, the scores it ranks by, directions it learnt."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from .align import Alignment, alignment_directions
from .config import RunConfig
from .datasets import Dataset
from .evaluation import BlockScorer, Metrics, evaluate
from .evaluation.metrics import NOTHING_MEASURED
from .evidence.of_run import Measured, final_scores, measure_run
from .models import Backbone
from .renewal.refit import take_evidence
from .tensors.representations import Representations
from .tensors.tables import Tables


def representations(backbone: Backbone) -> Representations:
    """Those of a trained backbone, without gradients."""
    backbone.eval()
    with torch.no_grad():
        found: Representations = backbone()
    return found


def measure(
    model: Representations,
    config: RunConfig,
    dataset: Dataset,
    folder: Path,
    *,
    progress: bool = False,
) -> Measured:
    """Metrics of a trained model with the configured evidence, see `measure_run`.

    Where nothing is held out there are none, and the evidence is that of the run refitted.
    """
    if not dataset.holds_out:
        take_evidence(config, folder)
        return Measured(NOTHING_MEASURED, NOTHING_MEASURED, {})
    return measure_run(
        model,
        dataset,
        config.evidence,
        folder,
        monitor=config.training.monitor,
        ks=config.evaluation.ks,
        progress=progress,
    )


def evaluate_split(backbone: Backbone, dataset: Dataset, split: str, config: RunConfig) -> Metrics:
    """Full-ranking metrics of a trained backbone alone on one split."""
    return evaluate(representations(backbone), dataset, split, config.evaluation.ks)


def run_scores(
    folder: str | Path, config: RunConfig, dataset: Dataset, backbone: Backbone
) -> Representations | BlockScorer:
    """The scores by which the finished run in `folder` ranks, of what `load_run` gave."""
    return final_scores(representations(backbone), dataset, config.evidence, Path(folder))


def learnt_directions(
    config: RunConfig, dataset: Dataset, backbone: Backbone, alignment: Alignment
) -> dict[str, Tensor]:
    """Which directions are active for which item after training, see `alignment_directions`.

    Scores are taken over the whole training split with the rule the alignment was trained with,
    FETTLE's one-way rule for an alignment that has none.
    """
    with torch.no_grad():
        user, item = backbone.aligned()
    device = user.device
    content = backbone.content({name: t.to(device) for name, t in dataset.features.items()})
    tables = alignment.projected(Tables(user, item, content))
    users, items = dataset.train.to(device)
    draws = torch.Generator().manual_seed(config.seed)
    return alignment_directions(
        tables,
        users,
        items,
        alignment.policy,
        missing={name: mask.to(device) for name, mask in dataset.missing.items()},
        generator=draws,
    )
