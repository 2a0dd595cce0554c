"""A tiny world to train in; run as a script, it kills and resumes a training (see test_resume)."""

from __future__ import annotations

import json
import random
import sys
import time
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from torch import nn

from crossalign.align.base import Alignment
from crossalign.datasets.dataset import Dataset
from crossalign.models.base import Backbone, Batch, Representations
from crossalign.training import RunContext, TrainingOptions, fit, seed_everything


class TinyMF(Backbone):
    """Matrix factorisation that also uses dropout and the epoch's generator."""

    def __init__(self, n_users: int, n_items: int, dim: int = 8, dropout: float = 0.0) -> None:
        super().__init__()
        self.user = nn.Parameter(0.1 * torch.randn(n_users, dim))
        self.item = nn.Parameter(0.1 * torch.randn(n_items, dim))
        self.dropout = nn.Dropout(dropout)
        self.representation_dim = dim
        self.scale = 1.0

    def begin_epoch(self, rng: torch.Generator) -> None:
        self.scale = 1.0 + 0.1 * float(torch.rand((), generator=rng))

    def forward(self) -> Representations:
        return Representations(self.dropout(self.user), self.item)

    def loss(self, batch: Batch, representations: Representations) -> dict[str, torch.Tensor]:
        user, item = representations
        margin = (user[batch.users] * (item[batch.items] - item[batch.negatives])).sum(dim=1)
        weights = self.user[batch.users].square().sum(dim=1).mean()
        return {
            "bpr": self.scale * nn.functional.softplus(-margin).mean(),
            "l2": 1e-4 * weights,
        }


class TinyAlignment(Alignment):
    """Pulls item representations towards projected content; counts what it saw."""

    def __init__(self, dim: int, width: int) -> None:
        super().__init__(dim, ("text",), {"text": width})
        self.seen = torch.zeros(())

    def terms(self, user, item, modalities, users, items):
        content = self.projectors["text"](modalities["text"][items])
        self.seen = torch.tensor(float(len(items)))
        return {"pull": 0.01 * (item[items] - content).square().mean()}

    def diagnostics(self) -> dict[str, torch.Tensor]:
        return {"rows": self.seen}


def checkerboard(n_users: int = 40, n_items: int = 24, seed: int = 0) -> Dataset:
    """Even users take even items, odd users odd ones; every user has rows in all splits."""
    rng = torch.Generator().manual_seed(seed)
    parts: list[list[tuple[int, int]]] = [[], [], []]
    for user in range(n_users):
        items = (2 * torch.randperm(n_items // 2, generator=rng) + user % 2).tolist()
        for place, item in enumerate(items):
            parts[1 if place == 0 else 2 if place == 1 else 0].append((user, item))
    train, valid, test = (torch.tensor(part).T.contiguous() for part in parts)
    features = {"text": torch.randn(n_items, 6, generator=rng)}
    return Dataset("checkerboard", n_users, n_items, train, valid, test, features=features)


def train_tiny(folder: Path | None, options: TrainingOptions, **arguments):
    """One complete training, from initialisation on; returns `(result, modules)`."""
    dataset = checkerboard()
    seed_everything(3)
    backbone = TinyMF(dataset.n_users, dataset.n_items, dropout=0.2)
    alignment = TinyAlignment(8, 6)
    arguments = {"progress": False, "seed": 5, "alignment": alignment} | arguments
    around = {f.name: arguments.pop(f.name) for f in fields(RunContext) if f.name in arguments}
    result = fit(backbone, dataset, options, context=RunContext(folder, **around), **arguments)
    return result, (backbone, alignment)


@pytest.fixture
def tiny_mf():
    return TinyMF


@pytest.fixture
def tiny_dataset() -> Dataset:
    return checkerboard()


@pytest.fixture
def run_tiny():
    return train_tiny


def _finishes_training(folder: Path, wait: float) -> bool:
    """Train or resume in a child process that gets SIGKILL after `wait`; True if it finished."""
    from under_fire import finishes

    options = TrainingOptions(epochs=12, batch_size=8, patience=50, checkpoint_every=2)
    return finishes(lambda: train_tiny(folder, options, resume=True, fingerprint="kill me"), wait)


def main(base: Path, seed: int) -> None:
    """Run once in peace and once under fire; print how often and after which epochs it was hit."""
    torch.set_num_threads(1)
    train_tiny(None, TrainingOptions(epochs=1))  # what torch loads late is loaded before the forks
    started = time.monotonic()
    assert _finishes_training(base / "peace", wait=600)
    usual = time.monotonic() - started
    chance, hits = random.Random(seed), []
    while not _finishes_training(base / "fire", chance.uniform(0.1, 0.5) * usual):
        hits.append(len(_lines(base / "fire" / "history.jsonl")))
    print(json.dumps(hits))


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[1]))  # where under_fire lies
    main(Path(sys.argv[1]), int(sys.argv[2]))
