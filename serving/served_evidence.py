"""Evidence in an export: the lists of its kinds and the histories they are read with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from ..config import RunConfig
from ..datasets import Dataset
from ..datasets.arrays import load_arrays
from ..evaluation.scores import InnerProducts
from ..evidence import Candidates, Choice, EvidenceScorer, HistoryEvidence
from ..evidence.kinds import evidence_lists, parse_kinds
from ..evidence.options import NONE
from ..fileio import atomic_path
from ..references.inputs import history_matrix
from ..tensors.representations import Representations

WITHOUT = (
    "scores without evidence are the inner products of the vectors: crossalign recommend "
    "--without-evidence, or Recommender.load(folder, evidence=False)"
)


@dataclass(frozen=True)
class ServedEvidence:
    """What adding evidence takes, beside vectors.

    Attributes:
        history: `(n_users, n_items)` training items of users.
        lists: kind -> `(n_items, n_items)`; row j is what item j of a history says for each item.
        weight: of the evidence, in standard deviations of the model's scores.
        candidates: items of the highest scores that it is added to.
    """

    history: sp.csr_matrix
    lists: Mapping[str, sp.csr_matrix]
    weight: float
    candidates: int

    @classmethod
    def of_run(cls, config: RunConfig, dataset: Dataset, run: Path) -> ServedEvidence | None:
        """That of a finished run; None where it adds nothing to its model."""
        if config.evidence.kind == NONE:
            return None
        choice = Choice.load(run)
        if not choice.weight:
            return None
        lists = {
            name: evidence_lists(name, dataset, config.evidence)
            for name in parse_kinds(choice.kind)
        }
        return cls(history_matrix(dataset), lists, choice.weight, config.evidence.candidates)

    def about(self) -> dict[str, Any]:
        """What `about.json` says of it."""
        return {
            "kinds": list(self.lists),
            "weight": self.weight,
            "candidates": self.candidates,
            "without": WITHOUT,
        }

    def save(self, file: Path) -> None:
        """Write every matrix as CSR arrays: `history.indptr`, `ease.data`, and so on."""
        arrays = {
            f"{name}.{part}": getattr(matrix, part)
            for name, matrix in {"history": self.history, **self.lists}.items()
            for part in ("indptr", "indices", "data")
        }
        with atomic_path(file) as path, path.open("wb") as out:
            np.savez(out, **arrays)

    @classmethod
    def load(cls, file: Path, about: Mapping[str, Any]) -> ServedEvidence:
        """Read what `save` wrote.

        Raises:
            DataError: the file cannot be read.
            ValueError, LookupError, TypeError: what it holds does not fit together; the caller's
                to name.
        """
        names = ("history", *about["kinds"])
        parts = [f"{name}.{part}" for name in names for part in ("data", "indices", "indptr")]
        arrays = load_arrays(file, parts)
        n_items = len(arrays[f"{names[1]}.indptr"]) - 1
        matrices = {}
        for name in names:
            own = tuple(arrays[f"{name}.{part}"] for part in ("data", "indices", "indptr"))
            matrices[name] = sp.csr_matrix(own, shape=(len(own[2]) - 1, n_items))
            matrices[name].check_format(full_check=True)
        history = matrices.pop("history")
        return cls(history, matrices, float(about["weight"]), int(about["candidates"]))

    def scorer(
        self, user: Tensor, item: Tensor, history: sp.csr_matrix, seen: Tensor, columns: Tensor
    ) -> EvidenceScorer:
        """Final scores of some users for the items to choose from, which are their catalogue.

        Args:
            user: `(n, dim)`.
            item: `(n_columns, dim)`.
            history: `(n, n_items)` items that evidence is read from.
            seen: `(2, m)` rows of `user` and of `item` that are no candidates.
            columns: `(n_columns,)` row of each item in the catalogue; new ones lie behind it and
                keep their inner products.
        """
        old = torch.from_numpy(columns.numpy() < history.shape[1])
        held = np.unique(history.indices)  # only what these say is read, of long lists a small part
        lists = [_columns(own[held], columns.numpy()) for own in self.lists.values()]
        history = history[:, held]
        model = InnerProducts(Representations(user, item))
        ones = torch.ones(seen.shape[1]).numpy()
        known = sp.csr_matrix((ones, tuple(seen.numpy())), shape=(len(user), len(item)))
        block = Candidates(model, known, self.candidates)
        evidence = HistoryEvidence(history, lists)
        return EvidenceScorer(model, block, lambda users: evidence(users) * old, self.weight)

    def says(self, history: sp.csr_matrix, item: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """What each item of a history says for one item of the catalogue, the most first.

        Args:
            history: `(1, n_items)`.
            item: row of the item.

        Returns:
            Rows `(n,)` of the items of the history that say something, and by kind `(n,)` what
            its lists hold. Kinds are weighed as in their sum: each in the standard deviation of
            what the history says over the catalogue.
        """
        rows = history.indices
        values = {name: own[rows][:, [item]].toarray()[:, 0] for name, own in self.lists.items()}
        total = np.zeros(len(rows))
        for name, own in self.lists.items():
            spread = (history @ own).toarray().std()
            total += values[name] / spread if spread else 0
        order = np.lexsort((rows, -total))
        order = order[np.any([of_kind[order] != 0 for of_kind in values.values()], axis=0)]
        return rows[order], {name: of_kind[order] for name, of_kind in values.items()}


def _columns(rows: sp.csr_matrix, columns: np.ndarray) -> sp.csr_matrix:
    """Some columns of `(n, n_items)` rows; those behind the catalogue are empty."""
    n_items = rows.shape[1]
    if np.array_equal(columns, np.arange(n_items)):
        return rows
    old = columns < n_items
    kept = sp.diags_array(old.astype(np.float32))
    return sp.csr_matrix(rows[:, np.where(old, columns, 0)] @ kept)
