"""A first configuration for a data set, with the reason of every choice."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from ..config import RunConfig, to_plain
from ..datasets import DataOptions, Dataset
from ..evidence.kinds import possible_kinds
from ..evidence.options import AUTO, EvidenceOptions
from ..graphs.regression import content_trust

CROSS_WEIGHTS = {"ila_weight": 0.01, "cla_weight": 1e-3, "cna_weight": 0.01}
LARGE = 2_000_000
"""Training pairs from which on a step reads sampled blocks in place of the whole graph."""
CONFIRMED = 0.5
"""Trust from which on neighbours lean on content: Amazon Baby (text 0.90) gains by it;
TikTok (image 0.29), where items near by content hardly share more users than others, loses."""


@dataclass(frozen=True)
class Choice:
    """One option of a recommended configuration.

    Attributes:
        key: `section.option`, or `path`.
        value: what is recommended.
        reason: why, in one line.
    """

    key: str
    value: Any
    reason: str


def recommend_setup(dataset: Dataset, config: RunConfig) -> list[Choice]:
    """What to train first on a data set.

    Sizes, coverage and what feedback says of the content decide; nothing is trained.

    Args:
        dataset: the data.
        config: says where they lie, and how they are read.
    """
    read = [
        Choice(f"data.{name}", value, "as the data were read for this")
        for name, value in to_plain(config)["data"].items()
        if value != getattr(DataOptions(), name)
    ]
    return [
        Choice("path", config.path, "the data"),
        *read,
        *_alignment(dataset),
        *_training(dataset.train.shape[1]),
        *_evidence(dataset),
    ]


def setup_yaml(dataset: Dataset, choices: list[Choice]) -> str:
    """The choices as YAML that `--config` reads, with the reasons as comments."""
    lines = [
        f"# First setup for {dataset.name}: {dataset.n_users:,} users, {dataset.n_items:,} items, "
        f"{dataset.train.shape[1]:,} training pairs.",
        "# Written by `crossalign recommend-setup`; `crossalign tune` searches on from here.",
    ]
    section = ""
    for choice in choices:
        above, _, option = choice.key.rpartition(".")
        if above != section and above:
            lines.append(f"{above}:")
        section = above
        value = yaml.safe_dump({option: choice.value}, default_flow_style=False, width=1000).strip()
        indent = "  " if above else ""
        lines += textwrap.wrap(
            choice.reason, 100, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "
        )
        lines.append(f"{indent}{value}")
    return "\n".join(lines) + "\n"


def _alignment(dataset: Dataset) -> Iterator[Choice]:
    """Backbone, alignment and its neighbours."""
    yield Choice("backbone.name", "lightgcn", "cheap, and strong with the parts below")
    trust = content_trust(dataset)
    if not trust:
        yield Choice(
            "alignment", None, "there is no content to align; evidence uses feedback alone"
        )
        return
    said = ", ".join(f"{name} {value:.2f}" for name, value in trust.items())
    if max(trust.values()) < CONFIRMED:
        reason = f"items near by content hardly share more users than others (trust: {said}), so "
        yield Choice("alignment.name", "cross", reason + "feedback chooses who learns from whom")
        for option, weight in CROSS_WEIGHTS.items():
            yield Choice(f"alignment.{option}", weight, "what validation chose on TikTok")
        return
    missing = {name: float(mask.float().mean()) for name, mask in dataset.missing.items()}
    lacking = "".join(f"; {share:.0%} lack {name}" for name, share in missing.items() if share)
    reason = f"items near by content share users (trust: {said}){lacking}, so an item is drawn to "
    yield Choice("alignment.name", "rna", reason + "those that predict it")
    yield Choice("neighbors.k", max(1, min(10, dataset.n_items - 1)), "predictors of an item")


def _training(n_pairs: int) -> Iterator[Choice]:
    """Optimisation, and how much of the graph a step reads."""
    yield Choice(
        "training.learning_rate", 3e-3, "ends in 20 to 30 epochs; at 1e-3 it creeps for hundreds"
    )
    yield Choice("training.patience", 20, "more than the dip in which alignments begin on new data")
    if n_pairs > LARGE:
        yield Choice(
            "training.sampling",
            "blocks",
            f"{n_pairs:,} pairs: a step over the whole graph would read all of them",
        )


def _evidence(dataset: Dataset) -> Iterator[Choice]:
    """What is added to the scores once the model is trained, if rows are held out to choose it."""
    if not dataset.valid.shape[1]:
        return
    kinds = ", ".join(possible_kinds(dataset, EvidenceOptions()))
    yield Choice(
        "evidence.kind", AUTO, f"chosen on validation, with its weight, among {kinds} and none"
    )
