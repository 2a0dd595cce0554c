"""Recommendations from an export: for users, for histories, and of items that are new."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from torch import Tensor

from ..checksums import DAMAGED, read_tensors, require_seal
from ..datasets.arrays import load_arrays
from ..datasets.frames import integer_column, read_frame
from ..datasets.ids import rows_of_ids
from ..errors import ConfigError, DataError, shorten
from ..evaluation import BlockScorer
from ..evaluation.recommend import recommend
from ..tensors.representations import Representations
from .checks import require_ids, require_same_files, require_seen, require_vectors
from .content_map import ContentMap
from .layout import ABOUT, EVIDENCE, FORMAT, ITEMS, SEEN, USERS, VECTORS
from .served_evidence import ServedEvidence

COLUMNS = ("user", "rank", "item", "score")


@dataclass(frozen=True)
class Recommender:
    """Vectors, ids and what users have: all that recommending takes.

    Ids are those of the data files, as text. Scores are inner products over the whole catalogue,
    with the evidence that the run adds to them; what a user has in any split of the data is left
    out, and equal scores go by the lower row.

    Attributes:
        user: `(n_users, dim)`.
        item: `(n_items, dim)`.
        users: row of every user id.
        items: row of every item id.
        seen_from: `(n_users + 1,)` int64; what user u has is `seen[seen_from[u]:seen_from[u + 1]]`.
        seen: `(n,)` int64 rows of items.
        content_map: from content to vectors; None where the data had no content.
        bought: `(n_items,)` int64 training interactions.
        titles: `(n_items,)` text; None where the data had none.
        evidence: what is added to inner products; None where nothing is. Its catalogue are the
            items to choose from, and those that the user has are no candidates.
    """

    user: Tensor
    item: Tensor
    users: pd.Index
    items: pd.Index
    seen_from: Tensor
    seen: Tensor
    content_map: ContentMap | None
    bought: Tensor
    titles: np.ndarray | None = None
    evidence: ServedEvidence | None = None

    @classmethod
    def load(cls, folder: str | os.PathLike[str], *, evidence: bool = True) -> Recommender:
        """Read what `export_run` wrote.

        Args:
            folder: the export.
            evidence: False recommends by inner products alone.

        Raises:
            DataError: the folder is no export, or is damaged.
        """
        folder = Path(folder)
        if not (folder / ABOUT).is_file():
            raise DataError(f"{folder} is no export (no {ABOUT}): make one with crossalign export")
        try:
            about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
            require_seal(about)
            if about["format"] != FORMAT:
                raise DataError(f"{folder}: format {about['format']} is not {FORMAT}: export again")
            require_same_files(folder, about)
            tensors = read_tensors(folder / VECTORS)
            users, items = (_ids(folder / name) for name in (USERS, ITEMS))
            bought, titles = _bought_and_titles(folder / ITEMS)
            seen = load_arrays(folder / SEEN, ("indptr", "indices"))
            seen_from, has = (torch.from_numpy(seen[name]) for name in ("indptr", "indices"))
            content_map = _content_map(about["content_map"], tensors)
            user, item = tensors["user"], tensors["item"]
            require_vectors(user, item)
            require_ids("user", users, len(user))
            require_ids("item", items, len(item))
            require_seen(seen_from, has, len(user), len(item))
            added = None
            if evidence and about.get("evidence"):
                added = ServedEvidence.load(folder / EVIDENCE, about["evidence"])
        except (AttributeError, RecursionError, *DAMAGED) as error:
            raise DataError(f"{folder} is damaged ({error}): export the run again") from error
        return cls(user, item, users, items, seen_from, has, content_map, bought, titles, added)

    def recommend(
        self, users: Sequence[str], k: int, *, among: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """The best items of each user, a row each: user, rank from 1, item, score[, title].

        A user without any interaction gets the items of `popular`, whose score is another one.

        Args:
            users: ids.
            k: items at most.
            among: ids of the items to choose from; all if None.

        Raises:
            ConfigError: an id is unknown, or `k` is not positive.
        """
        rows = rows_of(self.users, users, "user")
        new = set(self.without_history(users))
        if new:
            popular = self.popular(k, among=among)
            known = [user for user in dict.fromkeys(users) if user not in new]
            lists = {user: popular.assign(user=user) for user in new}
            if known:
                found = self.recommend(known, k, among=among)
                lists |= {str(user): part for user, part in found.groupby("user", sort=False)}
            parts = [lists[user] for user in users if user in lists]
            return pd.concat(parts, ignore_index=True)[["user", *popular.columns]]
        first, last = self.seen_from[rows], self.seen_from[rows + 1]
        of = torch.arange(len(rows)).repeat_interleave(last - first)
        start = (first - (last - first).cumsum(0) + (last - first))[of]
        has = self.seen[start + torch.arange(len(of))]
        history = None if self.evidence is None else self.evidence.history[rows.numpy()]
        seen = torch.stack([of, has])
        return self._lists(list(users), _Asking(self.user[rows], seen, history), k, among)

    def known_users(self) -> list[str]:
        """Ids of the users who have anything: of others nothing is known but a number."""
        return list(self.users[(self.seen_from[1:] > self.seen_from[:-1]).numpy()])

    def without_history(self, users: Sequence[str]) -> list[str]:
        """Those of `users` who have no interaction in the data, so that nothing is known of them.

        Raises:
            ConfigError: an id is unknown.
        """
        rows = rows_of(self.users, users, "user")
        nothing = (self.seen_from[rows] == self.seen_from[rows + 1]).tolist()
        return [user for user, none in zip(users, nothing, strict=True) if none]

    def popular(self, k: int, *, among: Sequence[str] | None = None) -> pd.DataFrame:
        """The items most bought in training, for someone of whom nothing is known.

        Args:
            k: items at most.
            among: ids of the items to choose from; all if None.

        Returns:
            A row each: rank from 1, item, score (training interactions), title where there are
            titles. Equal ones go by the lower row.
        """
        rows = torch.arange(len(self.items))
        if among is not None:
            rows = rows_of(self.items, among, "item").unique()
        order = self.bought[rows].argsort(descending=True, stable=True)[:k]
        best = rows[order].numpy()
        table = {
            "rank": np.arange(1, len(best) + 1),
            "item": self.items.to_numpy()[best],
            "score": self.bought.numpy()[best].astype(np.float32),
        }
        return pd.DataFrame(table | self._titled(best))

    def _titled(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The column of titles, where there is one."""
        return {} if self.titles is None else {"title": self.titles[rows]}

    def recommend_for(
        self, history: Sequence[str], k: int, *, among: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """The best items for someone unknown who has `history`: rank, item, score[, title].

        These items are left out. The user's vector is the mean of theirs, so scores are mean inner
        products.

        Raises:
            ConfigError: an id is unknown, there are none, or `k` is not positive.
        """
        if not len(history):
            raise ConfigError("a history needs one item at least")
        has = rows_of(self.items, history, "item")
        seen = torch.stack([torch.zeros_like(has), has])
        user = self.item[has].mean(0, keepdim=True)
        own: sp.csr_matrix | None = None
        if self.evidence is not None:
            old = seen[:, has < self.evidence.history.shape[1]].unique(dim=1).numpy()
            shape = (1, self.evidence.history.shape[1])
            own = sp.csr_matrix((np.ones(old.shape[1], np.float32), tuple(old)), shape=shape)
        lists = self._lists([""], _Asking(user, seen, own), k, among)
        return lists.drop(columns="user")

    def with_items(
        self,
        ids: Sequence[str],
        features: Mapping[str, Tensor],
        missing: Mapping[str, Tensor] | None = None,
    ) -> Recommender:
        """A recommender that knows new items too, by vectors made from their content.

        Args:
            ids: of the new items.
            features: modality -> `(len(ids), d_m)` from the encoder of the training data.
            missing: modality -> `(len(ids),)` bool, True where an item lacks it.

        Raises:
            DataError: an id is in the catalogue or stands twice, features do not fit, or there
                was no content to learn from.
        """
        if self.content_map is None:
            raise DataError("the run had no content, so nothing is known of items by their content")
        known = np.flatnonzero(rows_of_ids(self.items, ids) >= 0)
        if len(known):
            one = ids[known[0]]
            raise DataError(f"item '{one}' is in the catalogue already: give new ones alone")
        if len(set(ids)) < len(ids):
            raise DataError("a new item stands twice: give each once")
        made = self.content_map(features, missing)
        titles = self.titles
        return replace(
            self,
            item=torch.cat([self.item, made]),
            items=self.items.append(pd.Index(list(ids))),
            bought=torch.cat([self.bought, self.bought.new_zeros(len(made))]),
            titles=None if titles is None else np.append(titles, np.full(len(made), "", object)),
        )

    def _lists(
        self,
        labels: Sequence[str],
        asking: _Asking,
        k: int,
        among: Sequence[str] | None,
    ) -> pd.DataFrame:
        """Lists for those who ask."""
        item, names, seen, k = self.item, self.items, asking.seen, min(k, len(self.items))
        chosen = torch.arange(len(item))
        if among is not None:
            chosen = rows_of(self.items, among, "item").unique()
            item, names = item[chosen], names[chosen.numpy()]
            place = torch.full((len(self.item),), -1)
            place[chosen] = torch.arange(len(chosen))
            seen = torch.stack([seen[0], place[seen[1]]])
            seen = seen[:, seen[1] >= 0]
        scores: Representations | BlockScorer = Representations(asking.user, item)
        if self.evidence is not None and asking.history is not None:
            scores = self.evidence.scorer(asking.user, item, asking.history, seen, chosen)
        found, score = recommend(scores, torch.arange(len(asking.user)), k, seen)
        row, rank = (found >= 0).nonzero(as_tuple=True)
        columns = (
            np.asarray(labels, dtype=object)[row.numpy()],
            rank.numpy() + 1,
            names.to_numpy()[found[row, rank].numpy()],
            score[row, rank].numpy(),
        )
        titles = self._titled(chosen[found[row, rank]].numpy())
        return pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)) | titles)


@dataclass(frozen=True)
class _Asking:
    """Users that lists are for: their vectors, `(2, m)` rows and items they have, histories."""

    user: Tensor
    seen: Tensor
    history: sp.csr_matrix | None


def rows_of(index: pd.Index, ids: Sequence[str], kind: str) -> Tensor:
    """Rows `(n,)` int64 of ids; raises `ConfigError` for one that is unknown."""
    rows = rows_of_ids(index, ids)
    unknown = np.flatnonzero(rows < 0)
    if len(unknown):
        new = "; for someone new give --history or --newcomer" if kind == "user" else ""
        raise ConfigError(
            f"{kind} '{shorten(str(list(ids)[unknown[0]]))}' is unknown: the export has "
            f"{len(index)}, such as '{shorten(index[0])}'{new}"
        )
    return torch.from_numpy(rows)


def _content_map(
    about: Mapping[str, Any] | None, tensors: Mapping[str, Tensor]
) -> ContentMap | None:
    if about is None:
        return None
    centre, weight, bias = (tensors[f"content_map.{name}"] for name in ("centre", "weight", "bias"))
    return ContentMap(about["modalities"], centre, weight, bias, about["penalty"])


def _bought_and_titles(file: Path) -> tuple[Tensor, np.ndarray | None]:
    """Training interactions and titles of the rows of `items.csv`; an older one has no titles."""
    frame = read_frame(file)
    bought = torch.from_numpy(integer_column(frame, "interactions"))
    titles = frame.columns.get("title")
    return bought, None if titles is None else np.array(titles.fill_null(""), dtype=object)


def _ids(file: Path) -> pd.Index:
    return pd.Index(np.asarray(read_frame(file).columns["id"], dtype=object))
