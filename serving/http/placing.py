"""New items: where their content puts them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import DataError
from .answers import Audience, ModalityState, Place, Placed, PlacedItems
from .encoders import Encoders
from .errors import Missing, Refused
from .lists import Ranking
from .requests import NewItem, NewItems
from .scoring import best_rows, score_one
from .shop import rank_among

MOST_PLACES = 1000
TINY = 1e-12


class Placing:
    """Places new items of one export.

    Args:
        ranking: lists of the export.
        encoders: for raw content.
        records: modality -> what the export says of its encoder.
        slow: runs everything here.
    """

    def __init__(
        self,
        ranking: Ranking,
        encoders: Encoders,
        records: Mapping[str, Mapping[str, Any]],
        slow: Executor,
    ) -> None:
        self._ranking, self._encoders, self._records, self._slow = ranking, encoders, records, slow

    def modalities(self) -> dict[str, ModalityState]:
        """How content can come in."""
        content_map = self._ranking.shop.content_map
        widths = content_map.widths if content_map is not None else {}
        return {
            name: ModalityState(width=width, reads=self._records.get(name, {}).get("kind"))
            for name, width in widths.items()
        }

    async def place(self, request: NewItems) -> PlacedItems:
        """Vectors from content, then lists and places by these."""
        shop, bounds = self._ranking.shop, self._ranking.bounds
        bounds.lists(request, len(request.items))
        if len(request.users) * len(request.items) > MOST_PLACES:
            raise Refused(f"items times users are more than the {MOST_PLACES} allowed")
        users = shop.users.rows(request.users)
        if shop.strangers[users].any():
            raise Refused("a user has no history, so nothing is known of where an item would stand")
        run = asyncio.get_running_loop().run_in_executor
        made = await run(self._slow, self._vectors, request.items)
        lengths = np.linalg.norm(made, axis=1, keepdims=True).clip(TINY)
        lists = await self._ranking.near(request, made / lengths)
        audiences, places = await run(self._slow, self._people, made, users, request.k)
        placed = [
            Placed(similar=similar.items, audience=audience, places=place)
            for similar, audience, place in zip(lists.lists, audiences, places, strict=True)
        ]
        return PlacedItems(export=shop.name, items=placed, unknown=lists.unknown)

    def _people(
        self, made: np.ndarray, users: np.ndarray, k: int
    ) -> tuple[list[list[Audience]], list[list[Place]]]:
        """For each new item, whom it suits best, and where it stands for some users."""
        shop = self._ranking.shop
        names = shop.users.names
        best = best_rows(made, shop.user, k, left_out=shop.strangers)
        audiences = [
            [
                Audience(user=names[row], score=score)
                for row, score in zip(rows, scores, strict=True)
                if score > -np.inf
            ]
            for rows, scores in zip(best.rows.tolist(), best.scores.tolist(), strict=True)
        ]
        places: list[list[Place]] = [[] for _ in made]
        if not len(users):
            return audiences, places
        old = shop.recommender
        asking = old.of_users(torch.from_numpy(users))
        more = replace(old, item=torch.cat([old.item, torch.from_numpy(made)]))
        scorer = more.scorer(asking)  # the new items stand behind all others
        for place, (user, has) in enumerate(zip(users.tolist(), asking.has(), strict=True)):
            scores, new = np.split(score_one(scorer, place), [len(old.item)])
            for of_item, score in zip(places, new, strict=True):
                rank = rank_among(scores, score, has)
                of_item.append(Place(user=names[user], score=float(score), rank=rank))
        return audiences, places

    def _vectors(self, items: list[NewItem]) -> np.ndarray:
        """Vectors `(n, dim)` from all content of each item."""
        content_map = self._ranking.shop.content_map
        if content_map is None:
            raise Missing("the run had no content, so nothing is known of items by their content")
        for place, item in enumerate(items):
            given = [*item.features, *item.texts, *item.files]
            if not given or len(set(given)) < len(given):
                raise Refused(f"item {place}: give content of each modality once, and some at all")
        features: dict[str, Tensor] = {}
        missing: dict[str, Tensor] = {}
        for name in dict.fromkeys(
            name
            for item in items
            for part in (item.features, item.texts, item.files)
            for name in part
        ):
            if name not in content_map.widths:
                raise Refused(f"a modality is unknown: give one of {', '.join(content_map.widths)}")
            features[name], missing[name] = self._modality(name, content_map.widths[name], items)
        try:
            made = content_map(features, missing).numpy()
        except DataError as error:
            raise Refused(str(error)) from None
        if not np.isfinite(made).all():
            raise Refused("the features are too large")
        return made

    def _modality(self, name: str, width: int, items: list[NewItem]) -> tuple[Tensor, Tensor]:
        """Features `(n, width)` of one modality, and which items lack it."""
        table, missing = torch.zeros(len(items), width), torch.ones(len(items), dtype=torch.bool)
        raw: dict[int, str] = {}
        reads = self._records.get(name, {}).get("kind")
        for place, item in enumerate(items):
            if name in item.features:
                row = item.features[name]
                if len(row) != width:
                    raise Refused(
                        f"item {place}: '{name}' has {len(row)} numbers instead of {width}"
                    )
                table[place], missing[place] = torch.tensor(row), False
            elif name in item.texts or name in item.files:
                _require_encoder(name, reads, "text" if name in item.texts else "file")
                raw[place] = item.texts[name] if name in item.texts else item.files[name]
        if raw:
            rows = self._encoders.encode(name, self._records[name], list(raw.values()))
            if rows.shape[1] != width:
                raise Missing(f"the encoder of '{name}' gives {rows.shape[1]} numbers, not {width}")
            places = torch.tensor(list(raw))
            table[places], missing[places] = torch.from_numpy(rows), False
        return table, missing


def _require_encoder(name: str, reads: str | None, given: str) -> None:
    """Refuse raw content that the encoder of a modality does not take."""
    if reads is None:
        raise Missing(f"the export names no encoder of '{name}': give its features")
    if (reads == "text") != (given == "text"):
        raise Refused(f"'{name}' takes {'texts' if reads == 'text' else 'files'}")
