"""Representations and full ranking of what lies on several hosts; nothing is gathered whole.

Representations are computed layer by layer into tables on the hosts. Each trainer ranks for its own
users, against items that are streamed in blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor
from torch.func import functional_call

from ..errors import RunError
from ..evaluation.metrics import Metrics, average, user_metrics
from ..evaluation.ranking import Evaluator
from ..graphs.item_blocks import ItemHops, ItemLayers
from .blocks import RemoteBlocks
from .cluster import Cluster, Remote
from .folder import array
from .modules import Modules
from .tables import blocks

if TYPE_CHECKING:
    from ..datasets.dataset import Dataset

Put = Callable[[str, Tensor, Tensor, tuple[Tensor, Tensor]], None]
"""Writes rows of users and items into the tables of a name."""
ITEMS = 1 << 14
"""Items that are streamed at a time."""
SCORES = 64 << 20
"""Bytes of the scores of a block."""


class _Stored:
    """Stands for a propagation: first it keeps what it is given, then it gives the result."""

    def __init__(self, layers: ItemLayers | None = None, n_items: int = 0) -> None:
        self.given: tuple[Tensor, Tensor] | None = None
        self.result: tuple[Tensor, Tensor] | None = None
        self.n_layers = 0
        self._layers, self._n_items = layers, n_items

    def __call__(self, user: Tensor, item: Tensor, n_layers: int) -> tuple[Tensor, Tensor]:
        self.given, self.n_layers = (user, item[: self._n_items]), n_layers
        return self.given if self.result is None else self.result

    def similar(self, item: Tensor) -> Tensor:
        """`S^n item` at the first items."""
        if self._layers is None:
            raise ValueError("the backbone has graphs between items that its block_graph lacks")
        return self._layers(item)


@dataclass(frozen=True)
class RemoteRepresentations:
    """Tables on the hosts, `(n_users, dim)` and `(n_items, dim)`, by place."""

    user: Remote
    item: Remote


@torch.no_grad()
def represent_all(
    modules: Modules, cluster: Cluster, similar: ItemHops | None
) -> RemoteRepresentations:
    """Representations of all nodes on the whole graph; all trainers must call it.

    Args:
        modules: in evaluation mode.
        cluster: where.
        similar: graphs between items, for backbones that have them.
    """
    backbone = modules.backbone
    tables: dict[str, tuple[Remote, Remote]] = {}

    def put(name: str, users: Tensor, items: Tensor, rows: tuple[Tensor, Tensor]) -> None:
        if name not in tables:
            pair = zip(("user", "item"), rows, strict=True)
            made = [cluster.table(k, x.shape[1], f"evaluated_{name}_{k}") for k, x in pair]
            tables[name] = (made[0], made[1])
        for table, ids, x in zip(tables[name], (users, items), rows, strict=True):
            table[ids] = x

    def forward(users: Tensor, items: Tensor, propagated: str | None) -> _Stored:
        read, layers = items, None
        if similar is not None:
            read, layers = similar.around(items, items)
        stored = _Stored(layers, len(items))
        if propagated is not None:
            of_users, of_items = tables[propagated]
            stored.result = of_users[users] / n_terms, of_items[items] / n_terms
        rows = modules.rows(backbone.row_tables, users, read)
        put("out", users, items, functional_call(backbone, rows, (stored,)))
        return stored

    n_terms = 1
    for users, items in _own_blocks(cluster):
        stored = forward(users, items, None)
        if stored.given is not None:
            put("first", users, items, stored.given)
    cluster.barrier()
    if stored.given is None or stored.n_layers == 0:
        return RemoteRepresentations(*tables["out"])
    _propagate(cluster, tables, put, stored.n_layers)
    n_terms = stored.n_layers + 1
    for users, items in _own_blocks(cluster):
        forward(users, items, f"sum{stored.n_layers}")
    cluster.barrier()
    return RemoteRepresentations(*tables["out"])


def _propagate(
    cluster: Cluster, tables: dict[str, tuple[Remote, Remote]], put: Put, n_layers: int
) -> None:
    """Sums of layers, `x + A (previous sum)` for each layer in turn, from the tables `first`."""
    whole = RemoteBlocks(cluster, ())
    tables["sum0"] = tables["first"]
    for n in range(1, n_layers + 1):
        before = tables[f"sum{n - 1}"]
        for users, items in _own_blocks(cluster):
            layer, of_users, of_items = whole.one_layer(users, items)
            to_user, to_item = layer(before[0][of_users], before[1][of_items])
            x_user, x_item = tables["first"]
            put(f"sum{n}", users, items, (x_user[users] + to_user, x_item[items] + to_item))
        cluster.barrier()
        if n > 1:
            del tables[f"sum{n - 1}"]


def _own_blocks(cluster: Cluster) -> Iterator[tuple[Tensor, Tensor]]:
    """This trainer's users and items, some of both at a time; at least one block."""
    none = torch.empty(0, dtype=torch.int64)
    both = [list(blocks(*cluster.own(kind))) for kind in ("user", "item")]
    yield from zip_longest(*both, fillvalue=none)
    if not any(both):
        yield none, none


@dataclass(frozen=True)
class _OwnPairs:
    """A trainer's users by their number in it, and items by id, as `Evaluator` reads a data set."""

    name: str
    n_users: int
    n_items: int
    train: Tensor
    valid: Tensor
    test: Tensor
    dropped: Mapping[str, int] = field(default_factory=dict)

    def split(self, name: str) -> Tensor:
        """The pairs of a split."""
        return {"train": self.train, "valid": self.valid, "test": self.test}[name]


class RemoteEvaluator:
    """Full-ranking evaluation of one split, as `Evaluator` defines it; all trainers call it.

    Args:
        cluster: where.
        split: `valid` or `test`.
        ks: cut-offs.
    """

    def __init__(self, cluster: Cluster, split: str, ks: Sequence[int]) -> None:
        self.cluster = cluster
        self.split = split
        self.ks = tuple(sorted(set(ks)))
        first, last = cluster.own("user")
        item_ids = torch.from_numpy(array(cluster.folder, "item_ids").copy())
        by_id = {
            name: torch.stack((pairs[0] - first, item_ids[pairs[1]]))
            for name in ("train", "valid", "test")
            for pairs in (cluster.pairs(name),)
        }
        self.first = first
        self._ranks = None
        if by_id[split].shape[1]:
            train, valid, test = by_id.values()
            sizes = (last - first, cluster.parts.n_items)
            own = _OwnPairs(cluster.parts.name, *sizes, train, valid, test)
            self._ranks = _StreamedRanks(cast("Dataset", own), split, self.ks)

    def __call__(self, representations: RemoteRepresentations) -> Metrics:
        """Average metrics over the users of all trainers.

        Raises:
            RunError: a representation is not finite.
        """
        team, n_users = self.cluster.team, 0
        values = torch.zeros(6, len(self.ks), dtype=torch.float64)
        if self._ranks is not None:
            ranks = self._ranks.streamed(representations, self.cluster, self.first)
            n_users = len(self._ranks.users)
            found = user_metrics(ranks, self._ranks.counts, self.ks)
            values = torch.stack([column.sum(0) for column in found.values()])
        totals = team.sum(torch.cat((values.flatten(), values.new_tensor([n_users]))))
        n_all = int(totals[-1])
        if n_all == 0:
            raise RunError(f"no user has {self.split} rows: the data cannot be evaluated")
        means = totals[:-1].view(values.shape) / n_all
        names = user_metrics(torch.zeros(1).long(), torch.ones(1).long(), self.ks)
        scores = average({n: row[None] for n, row in zip(names, means, strict=True)}, self.ks)
        return Metrics(scores, n_all, self.cluster.parts.dropped.get(self.split, 0))


class _StreamedRanks(Evaluator):
    """Ranks of held-out items, with the items in the outer loop: each is streamed twice."""

    def streamed(
        self, representations: RemoteRepresentations, cluster: Cluster, first: int
    ) -> Tensor:
        """As `ranks`; the scores of an item are the same in both passes."""
        rows = representations.user[self.users + first]
        cells = self._target_cells
        owner, item = cells // self.n_items, cells % self.n_items
        score, ranks = torch.empty(len(cells)), torch.zeros(len(cells), dtype=torch.int64)
        places = array(cluster.folder, "item_places")
        for final in (False, True):
            for low in range(0, self.n_items, ITEMS):
                high = min(low + ITEMS, self.n_items)
                block = representations.item[torch.from_numpy(places[low:high].copy())]
                if not (torch.isfinite(block).all() and torch.isfinite(rows).all()):
                    raise RunError(
                        "a representation is not finite: lower the learning rate or the loss "
                        "weights"
                    )
                n = max(1, SCORES // (4 * (high - low)))
                for start in range(0, len(rows), n):
                    scores = rows[start : start + n] @ block.T
                    here = (owner >= start) & (owner < start + n)
                    if final:
                        ranks[here] += self._above(
                            scores, (start, low), owner[here], item[here], score[here]
                        )
                    else:
                        here &= (item >= low) & (item < high)
                        score[here] = scores[owner[here] - start, item[here] - low]
        return ranks

    def _above(
        self,
        scores: Tensor,
        corner: tuple[int, int],
        owner: Tensor,
        item: Tensor,
        score: Tensor,
    ) -> Tensor:
        """How many items of a block stand before each held-out item; `corner`: user and item."""
        start, low = corner
        cells = self._train_cells
        ends = torch.searchsorted(
            cells, torch.tensor([start, start + len(scores)]) * self.n_items
        ).tolist()
        user, trained = cells[ends[0] : ends[1]] // self.n_items, cells[ends[0] : ends[1]]
        trained = trained % self.n_items
        inside = (trained >= low) & (trained < low + scores.shape[1])
        scores[user[inside] - start, trained[inside] - low] = -torch.inf
        found = torch.empty_like(owner)
        ids = torch.arange(low, low + scores.shape[1])
        n = max(1, SCORES // (4 * scores.shape[1]))
        for part in torch.arange(len(owner)).split(n):
            of, limit = scores[owner[part] - start], score[part, None]
            before = (of > limit) | ((of == limit) & (ids < item[part, None]))
            found[part] = before.sum(1)
        return found
