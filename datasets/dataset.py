"""The validated, immutable data set that everything else starts from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import DataError

COSINE_SLACK = 1e-3  # cosines stored in low precision stray a little outside [-1, 1]
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class ItemGraph:
    """A ready item-item neighbour graph of one modality.

    Attributes:
        edges: `(2, n_edges)` int64, rows item and neighbour.
        similarity: `(n_edges,)` float32, cosine of the pair.
    """

    edges: Tensor
    similarity: Tensor


@dataclass(frozen=True)
class Intake:
    """Rows of the interactions file, and why some are in no split.

    Attributes:
        rows: in the file.
        left_out: reason -> number of rows; every row is in a split or counted here, once.
    """

    rows: int
    left_out: Mapping[str, int]

    def line(self) -> str:
        """What was read and what was kept, in words."""
        why = "; ".join(f"{count:,} {reason}" for reason, count in self.left_out.items() if count)
        kept = self.rows - sum(self.left_out.values())
        return f"{self.rows:,} row(s) read, {kept:,} kept" + (f"; left out: {why}" if why else "")


@dataclass(frozen=True)
class Dataset:
    """Interactions in three splits, item content, and the maps back to the original ids.

    Construction validates everything and raises `DataError` that says what is wrong, where, and
    how to mend it. Tensors lie on the CPU.

    Attributes:
        name: short name for reports.
        n_users: number of users; ids are `0 .. n_users - 1`.
        n_items: number of items; ids are `0 .. n_items - 1`.
        train: `(2, n)` int64, rows users and items; no pair stands twice within a split.
        valid: `(2, n)` int64; every user has a training row. Empty where nothing is held out.
        test: `(2, n)` int64; every user has a training row. Empty where `valid` is, and only there.
        features: modality name -> `(n_items, d)` float32, finite; missing rows hold zeros.
            float64 is taken and made float32.
        missing: modality name -> `(n_items,)` bool, True where an item lacks the modality;
            a modality without an entry is complete.
        item_graphs: modality name -> ready neighbour graph, instead of or beside features.
        user_ids: `(n_users,)` original ids; None if the ids are the original ones.
        item_ids: `(n_items,)` original ids; None if the ids are the original ones.
        dropped: split name -> number of held-out rows left out because their user has no
            training row.
        truth: `(n_items,)` int64 index into `modalities` of the modality that carries the
            preference signal (planted data only), else None.
        notes: warnings of the reader, for `describe`.
        also_seen: `(2, n)` int64 pairs of users without a training row, which are in no split: not
            recommended either, they say what these users like.
        intake: rows read and left out; None where no file was read.
        split_rule: how rows came into their splits, in words.
        rated_low: `(2, n)` int64 pairs rated too low to count: in no split, not recommended either.
    """

    name: str
    n_users: int
    n_items: int
    train: Tensor
    valid: Tensor
    test: Tensor
    features: Mapping[str, Tensor] = field(default_factory=dict)
    missing: Mapping[str, Tensor] = field(default_factory=dict)
    item_graphs: Mapping[str, ItemGraph] = field(default_factory=dict)
    user_ids: np.ndarray | None = None
    item_ids: np.ndarray | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)
    truth: Tensor | None = None
    notes: tuple[str, ...] = ()
    also_seen: Tensor = field(default_factory=lambda: torch.empty(2, 0, dtype=torch.int64))
    intake: Intake | None = None
    split_rule: str = ""
    rated_low: Tensor = field(default_factory=lambda: torch.empty(2, 0, dtype=torch.int64))

    def __post_init__(self) -> None:
        check_dataset(self)
        tables = {name: table.float() for name, table in self.features.items()}
        object.__setattr__(self, "features", tables)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the content modalities that have features, in a fixed order."""
        return tuple(self.features)

    @property
    def holds_out(self) -> bool:
        """Whether there are rows to validate and test on."""
        return self.valid.shape[1] > 0

    def split(self, name: str) -> Tensor:
        """The `(2, n)` pairs of split `name` (train, valid or test)."""
        return {"train": self.train, "valid": self.valid, "test": self.test}[name]


def check_dataset(data: Dataset) -> None:
    """Check every field of `data`; raises `DataError`: where, what, how to mend it."""
    for kind, count in (("users", data.n_users), ("items", data.n_items)):
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise DataError(f"n_{kind} is {count!r}: give a whole number of at least 1")
    for split, pairs in (("train", data.train), ("valid", data.valid), ("test", data.test)):
        _check_pairs(f"{split} split", pairs, data.n_users, data.n_items)
    _check_some_rows(data)
    for name, pairs in (("also_seen", data.also_seen), ("rated_low", data.rated_low)):
        _check_tensor(name, pairs, (torch.int64,))
        _check_shape(name, pairs, (2, None), "stack users and items as two rows")
        _check_range(name, "user", pairs[0], data.n_users)
        _check_range(name, "item", pairs[1], data.n_items)
    _check_cold_users(data)
    for modality, table in data.features.items():
        _check_name(modality)
        _check_features(modality, table, data.n_items)
    for modality, mask in data.missing.items():
        _check_missing(modality, mask, data.features, data.n_items)
    for modality, graph in data.item_graphs.items():
        _check_name(modality)
        _check_graph(f"ready graph of '{modality}'", graph, data.n_items)
    _check_ids("user_ids", data.user_ids, data.n_users)
    _check_ids("item_ids", data.item_ids, data.n_items)
    _check_truth(data)


def _check_tensor(where: str, value: object, dtypes: tuple[torch.dtype, ...]) -> None:
    if not isinstance(value, Tensor):
        raise DataError(f"{where}: is a {type(value).__name__}; give a torch tensor")
    if value.dtype not in dtypes:
        names = " or ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
        given = str(value.dtype).removeprefix("torch.")
        raise DataError(f"{where}: has dtype {given}; convert it to {names}")
    if value.device.type != "cpu":
        raise DataError(f"{where}: lies on {value.device}; move it to the CPU with .cpu()")


def _check_shape(where: str, value: Tensor, shape: tuple[int | None, ...], mend: str) -> None:
    fits = value.dim() == len(shape) and all(
        want is None or have == want for have, want in zip(value.shape, shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("n" if want is None else str(want) for want in shape)
        wanted += "," if len(shape) == 1 else ""
        raise DataError(f"{where}: has shape {tuple(value.shape)}, expected ({wanted}); {mend}")


def _check_pairs(where: str, pairs: Tensor, n_users: int, n_items: int) -> None:
    _check_tensor(where, pairs, (torch.int64,))
    _check_shape(where, pairs, (2, None), "stack users and items as two rows")
    for kind, ids, count in (("user", pairs[0], n_users), ("item", pairs[1], n_items)):
        _check_range(where, kind, ids, count)
    key = (pairs[0] * n_items + pairs[1]).numpy()
    order = np.argsort(key, kind="stable")
    repeats = np.flatnonzero(key[order][1:] == key[order][:-1])
    if repeats.size:
        first, second = order[repeats[0]], order[repeats[0] + 1]
        user, item = pairs[:, first].tolist()
        raise DataError(
            f"{where}: the pair (user {user}, item {item}) stands in rows {first} and {second}, "
            f"{repeats.size} repeat(s) in all; remove duplicates"
        )


def _check_some_rows(data: Dataset) -> None:
    """Every split has rows, or training has all of them."""
    empty = [name for name in SPLITS if data.split(name).shape[1] == 0]
    if empty and empty != ["valid", "test"]:
        raise DataError(
            f"{empty[0]} split: holds no interaction; give each split at least one row, or all "
            "rows to training"
        )


def _check_range(where: str, kind: str, ids: Tensor, count: int) -> None:
    bad = ((ids < 0) | (ids >= count)).nonzero()
    if len(bad):
        row = int(bad[0])
        raise DataError(
            f"{where}: {kind} id {int(ids[row])} in row {row} is outside 0 .. {count - 1}; "
            f"number {kind}s from 0 or raise n_{kind}s"
        )


def _check_cold_users(data: Dataset) -> None:
    trained = torch.zeros(data.n_users, dtype=torch.bool)
    trained[data.train[0]] = True
    for split, pairs in (("valid", data.valid), ("test", data.test)):
        cold = (~trained[pairs[0]]).nonzero()
        if len(cold):
            row = int(cold[0])
            raise DataError(
                f"{split} split: user {int(pairs[0, row])} in row {row} has no training row "
                f"({len(cold)} such row(s)); leave them out with drop_cold_users"
            )


def _check_name(modality: object) -> None:
    if not isinstance(modality, str) or not re.fullmatch(r"[A-Za-z0-9_-]+", modality):
        raise DataError(f"modality name {modality!r}: use letters, digits, '_' and '-' only")
    if modality == "id":
        raise DataError("modality name 'id': it stands for the backbone's own item vectors; rename")
    if hasattr(nn.ModuleDict(), modality):
        raise DataError(f"modality name '{modality}': torch's modules have a member of it; rename")


def _check_features(modality: str, table: Tensor, n_items: int) -> None:
    where = f"features of '{modality}'"
    _check_tensor(where, table, (torch.float32, torch.float64))
    _check_shape(where, table, (n_items, None), "give one row for each item, in id order")
    if table.shape[1] == 0:
        raise DataError(f"{where}: has no columns; leave the modality out")
    bad_row = ~torch.isfinite(table).all(dim=1)
    if bad_row.any():
        row = int(bad_row.nonzero()[0])
        kind = "NaN" if table[row].isnan().any() else "an infinite value"
        raise DataError(
            f"{where}: {kind} in row {row} ({int(bad_row.sum())} such row(s)); "
            "mend the file or leave these rows out as missing"
        )


def _check_missing(
    modality: str, mask: Tensor, features: Mapping[str, Tensor], n_items: int
) -> None:
    where = f"missing mask of '{modality}'"
    if modality not in features:
        raise DataError(f"{where}: there are no features of this name; remove the mask")
    _check_tensor(where, mask, (torch.bool,))
    _check_shape(where, mask, (n_items,), "give one flag for each item")
    filled = mask & (features[modality] != 0).any(dim=1)
    if filled.any():
        row = int(filled.nonzero()[0])
        raise DataError(f"{where}: row {row} is marked missing but holds values; set it to zeros")


def _check_graph(where: str, graph: ItemGraph, n_items: int) -> None:
    _check_tensor(f"{where}: edges", graph.edges, (torch.int64,))
    _check_shape(f"{where}: edges", graph.edges, (2, None), "stack items and neighbours")
    n_edges = graph.edges.shape[1]
    if n_edges == 0:
        raise DataError(f"{where}: holds no edge; leave the graph out")
    _check_range(where, "item", graph.edges[0], n_items)
    _check_range(where, "item", graph.edges[1], n_items)
    _check_tensor(f"{where}: similarity", graph.similarity, (torch.float32, torch.float64))
    _check_shape(f"{where}: similarity", graph.similarity, (n_edges,), "give one cosine an edge")
    bad = (~(graph.similarity.abs() <= 1 + COSINE_SLACK)).nonzero()  # NaN counts as bad
    if len(bad):
        row = int(bad[0])
        value = float(graph.similarity[row])
        raise DataError(f"{where}: similarity {value:g} in row {row} is no cosine; mend the file")
    key = (graph.edges[0] * n_items + graph.edges[1]).sort().values
    repeat = (key[1:] == key[:-1]).nonzero()
    if len(repeat):
        item, neighbour = divmod(int(key[int(repeat[0])]), n_items)
        raise DataError(f"{where}: edge ({item}, {neighbour}) stands twice; remove duplicates")


def _check_ids(where: str, ids: np.ndarray | None, count: int) -> None:
    if ids is None:
        return
    if not isinstance(ids, np.ndarray) or ids.shape != (count,):
        shape = getattr(ids, "shape", type(ids).__name__)
        raise DataError(f"{where}: is {shape}, expected an array of shape ({count},); one id each")
    values, counts = np.unique(ids, return_counts=True)
    if len(values) < count:
        raise DataError(f"{where}: id {values[counts > 1][0]} stands twice; make the ids unique")


def _check_truth(data: Dataset) -> None:
    if data.truth is None:
        return
    _check_tensor("truth", data.truth, (torch.int64,))
    _check_shape("truth", data.truth, (data.n_items,), "give one modality index for each item")
    _check_range("truth", "modality", data.truth, len(data.features))
