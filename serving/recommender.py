"""Recommendations from an export: for users, for histories, and of items that are new."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from torch import Tensor

from ..checksums import DAMAGED, read_tensors, require_seal
from ..datasets.arrays import load_arrays
from ..datasets.ids import rows_of_ids
from ..errors import ConfigError, DataError
from ..evaluation.recommend import recommend
from ..evaluation.scores import InnerProducts
from ..evidence import EvidenceScorer
from ..tensors.representations import Representations
from .asking import Asking, rows_of
from .checks import require_ids, require_same_files, require_seen, require_vectors
from .content_map import ContentMap
from .layout import ABOUT, EVIDENCE, FORMAT, ITEMS, SEEN, USERS, VECTORS
from .reading import read_bought_and_titles, read_content_map, read_ids
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
            users, items = (read_ids(folder / name) for name in (USERS, ITEMS))
            bought, titles = read_bought_and_titles(folder / ITEMS)
            seen = load_arrays(folder / SEEN, ("indptr", "indices"))
            seen_from, has = (torch.from_numpy(seen[name]) for name in ("indptr", "indices"))
            content_map = read_content_map(about["content_map"], tensors)
            user, item = tensors["user"], tensors["item"]
            require_vectors(user, item)
            require_ids("user", users, len(user))
            require_ids("item", items, len(item))
            require_seen(seen_from, has, len(user), len(item))
            added = None
            if evidence and about.get("evidence"):
                added = ServedEvidence.load(folder / EVIDENCE, about["evidence"])
            if added is not None and added.history.shape != (len(user), len(item)):
                raise ValueError("vectors and evidence are of different numbers")
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
        return self._lists(list(users), self.of_users(rows), k, among)

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
        asking = self.of_histories([rows_of(self.items, history, "item")])
        return self._lists([""], asking, k, among).drop(columns="user")

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

    def of_users(self, rows: Tensor) -> Asking:
        """Users by their rows `(n,)`."""
        first, last = self.seen_from[rows], self.seen_from[rows + 1]
        of = torch.arange(len(rows)).repeat_interleave(last - first)
        start = (first - (last - first).cumsum(0) + (last - first))[of]
        has = self.seen[start + torch.arange(len(of))]
        history = None if self.evidence is None else self.evidence.history[rows.numpy()]
        return Asking(self.user[rows], torch.stack([of, has]), history)

    def of_histories(self, histories: Sequence[Tensor]) -> Asking:
        """People unknown, by the rows of the items that each of them has, at least one."""
        user = torch.stack([self.item[has].mean(0) for has in histories])
        sizes = torch.tensor([len(has) for has in histories])
        of = torch.arange(len(histories)).repeat_interleave(sizes)
        seen, history = torch.stack([of, torch.cat(list(histories))]), None
        if self.evidence is not None:
            shape = (len(histories), self.evidence.history.shape[1])
            old = seen[:, seen[1] < shape[1]].unique(dim=1).numpy()
            history = sp.csr_matrix((np.ones(old.shape[1], np.float32), tuple(old)), shape=shape)
        return Asking(user, seen, history)

    def scorer(
        self, asking: Asking, chosen: Tensor | None = None
    ) -> InnerProducts | EvidenceScorer:
        """Final scores of those who ask, whose catalogue are the rows `chosen`; all if None.

        `asking.seen` names places in `chosen`.
        """
        item = self.item if chosen is None else self.item[chosen]
        if self.evidence is None or asking.history is None:
            return InnerProducts(Representations(asking.user, item))
        columns = torch.arange(len(item)) if chosen is None else chosen
        return self.evidence.scorer(asking.user, item, asking.history, asking.seen, columns)

    def best(self, asking: Asking, k: int, chosen: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Rows `(n, k)` of the best items that those who ask have not, and their scores.

        Args:
            asking: who.
            k: length of the lists; where no item is left they hold -1 and minus infinity.
            chosen: distinct rows of the items to choose from, in order; all if None.
        """
        users = torch.arange(len(asking.user))
        if chosen is None:
            return recommend(self.scorer(asking), users, k, asking.seen)
        if not len(chosen):
            return torch.full((len(users), k), -1), torch.full((len(users), k), -torch.inf)
        asking = asking.among(chosen, len(self.item))
        found, score = recommend(self.scorer(asking, chosen), users, k, asking.seen)
        return chosen[found].masked_fill(found < 0, -1), score

    def _lists(
        self, labels: Sequence[str], asking: Asking, k: int, among: Sequence[str] | None
    ) -> pd.DataFrame:
        """Lists for those who ask."""
        chosen = None if among is None else rows_of(self.items, among, "item").unique()
        found, score = self.best(asking, min(k, len(self.items)), chosen)
        row, rank = (found >= 0).nonzero(as_tuple=True)
        columns = (
            np.asarray(labels, dtype=object)[row.numpy()],
            rank.numpy() + 1,
            self.items.to_numpy()[found[row, rank].numpy()],
            score[row, rank].numpy(),
        )
        titles = self._titled(found[row, rank].numpy())
        return pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)) | titles)
