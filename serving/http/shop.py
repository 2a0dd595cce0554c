"""An export in memory, and what can be asked of it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from ...errors import DataError
from ...tensors.faiss_import import import_faiss
from ..content_map import ContentMap
from ..layout import ABOUT, INDEX, ITEMS
from ..recommender import Recommender
from ..served_evidence import ServedEvidence
from .catalogue import Catalogue
from .ids import Ids

TINY = 1e-12


@dataclass(frozen=True)
class Shop:
    """All that answers need; never changed, so that a request sees one export from end to end.

    Attributes:
        name: short hash of its `about.json`.
        about: what that says.
        created: seconds since 1970.
        user: `(n_users, dim)` float32.
        item: `(n_items, dim)` float32.
        inverse: `(n_items,)` one over the length of each item's vector.
        users: ids.
        items: ids.
        has: `(n_users, n_items)` CSR, what users have.
        buyers: the same by item.
        index: FAISS index of largest inner products.
        content_map: from content to vectors; None where the data had no content.
        made: `(n_items,)` bool, vectors made from content.
        catalogue: titles and pictures.
        recommender: of the same vectors, with the evidence that lists carry.
    """

    name: str
    about: dict[str, Any]
    created: int
    user: np.ndarray
    item: np.ndarray
    inverse: np.ndarray
    users: Ids
    items: Ids
    has: sp.csr_array
    buyers: sp.csc_array
    index: Any
    content_map: ContentMap | None
    made: np.ndarray
    catalogue: Catalogue
    recommender: Recommender

    @classmethod
    def load(cls, folder: Path, catalogue: Catalogue, *, evidence: bool = True) -> Shop:
        """Read an export. Vectors and index are mapped, so that processes share their memory.

        Args:
            folder: the export.
            catalogue: titles and pictures.
            evidence: False leaves out the evidence of the export, if it has some.

        Raises:
            DataError: the folder is no export, or is damaged.
        """
        loaded = Recommender.load(folder, evidence=evidence)
        text = (folder / ABOUT).read_bytes()
        about = json.loads(text)
        try:
            index = _read_index(folder / INDEX)
            user, item = loaded.user.numpy(), loaded.item.numpy()
            parts = (np.ones(len(loaded.seen), bool), loaded.seen.numpy(), loaded.seen_from.numpy())
            has = sp.csr_array(parts, shape=(len(user), len(item)))
            has.check_format(full_check=True)
            if (index.ntotal, index.d) != item.shape:
                raise ValueError("index and vectors are of different numbers")
            if not (np.isfinite(user).all() and np.isfinite(item).all()):
                raise ValueError("vectors are not finite")
            made = _made(folder, len(item))
        except (OSError, RuntimeError, ValueError, LookupError) as error:
            reason = str(error).splitlines()[-1]
            raise DataError(f"{folder} is damaged ({reason}): export the run again") from error
        return cls(
            name=hashlib.sha256(text).hexdigest()[:12],
            about=about,
            created=int(about.get("created", (folder / ABOUT).stat().st_mtime)),
            user=user,
            item=item,
            inverse=_inverse_lengths(item),
            users=Ids("user", loaded.users),
            items=Ids("item", loaded.items),
            has=has,
            buyers=has.tocsc(),
            index=index,
            content_map=loaded.content_map,
            made=made,
            catalogue=catalogue,
            recommender=loaded,
        )

    @property
    def evidence(self) -> ServedEvidence | None:
        """What lists carry beside inner products."""
        return self.recommender.evidence

    @cached_property
    def strangers(self) -> np.ndarray:
        """`(n_users,)` bool, users without history: nothing moved their vectors in training."""
        return np.diff(self.has.indptr) == 0

    @property
    def bought(self) -> np.ndarray:
        """`(n_items,)` interactions in training."""
        return self.recommender.bought.numpy()

    @cached_property
    def popular(self) -> np.ndarray:
        """Rows of all items, those most bought in training first, ties by the lower row."""
        return np.argsort(-self.bought, kind="stable")

    def history(self, user: int) -> np.ndarray:
        """Rows of the items that a user has."""
        return self.has.indices[self.has.indptr[user] : self.has.indptr[user + 1]]

    def owners(self, item: int) -> np.ndarray:
        """Rows of the users who have an item, in order."""
        return self.buyers.indices[self.buyers.indptr[item] : self.buyers.indptr[item + 1]]

    def unit(self, items: np.ndarray) -> np.ndarray:
        """`(n, dim)` vectors of items, with length 1."""
        return self.item[items] * self.inverse[items, None]


def check_export(folder: Path) -> None:
    """Refuse an export that could not be served.

    Raises:
        DataError: it is damaged, by its digests where it has them, or does not fit together.
    """
    Shop.load(folder, Catalogue())


def _read_index(file: Path) -> Any:
    faiss = import_faiss()
    return faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC)


def _made(folder: Path, n_items: int) -> np.ndarray:
    """Which items have vectors made from content."""
    source = pd.read_csv(folder / ITEMS, usecols=["vector"], dtype=str)["vector"].to_numpy()
    if len(source) != n_items:
        raise ValueError(f"{ITEMS} is of another number of items")
    return source == "content"


def _inverse_lengths(rows: np.ndarray) -> np.ndarray:
    return (1 / np.sqrt(np.einsum("nd,nd->n", rows, rows)).clip(TINY)).astype(np.float32)


def rank_among(scores: np.ndarray, score: float, has: np.ndarray) -> int:
    """From 1: place of `score` among `(n_items,)` scores, without those of rows in `has`."""
    return 1 + int((scores > score).sum()) - int((scores[has] > score).sum())


def use_threads(threads: int) -> None:
    """Let every library of this process use so many threads."""
    torch.set_num_threads(threads)
    import_faiss().omp_set_num_threads(threads)
