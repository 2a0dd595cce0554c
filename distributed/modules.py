"""Backbone and alignment of a partition: tables lie on the hosts, the rest in each trainer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..align import ALIGNERS, Alignment
from ..config import RunConfig
from ..errors import ConfigError
from ..graphs.dgl_import import DGLGraph, dgl
from ..models.base import BACKBONES, Backbone
from ..tensors.tables import SomeRows, Table, rows_of
from ..training.seeding import seed_everything
from .cluster import Cluster
from .folder import Parts, tensor
from .partition import SIMILAR
from .tables import RemoteRows


@dataclass(frozen=True)
class Modules:
    """What is trained.

    Attributes:
        backbone: made for one user and one item; rows take the place of its tables.
        alignment: or None.
        rows: rows of the tables.
        dense: `backbone` and `alignment`, whose other parameters each trainer holds.
    """

    backbone: Backbone
    alignment: Alignment | None
    rows: RemoteRows
    dense: nn.ModuleDict

    def dense_state(self) -> dict[str, Tensor]:
        """What each trainer holds, by state-dict name, without the tables."""
        return {
            name: value
            for name, value in self.dense.state_dict().items()
            if name.removeprefix("backbone.") not in self.rows.kinds
        }

    def load_dense(self, state: dict[str, Tensor]) -> None:
        """Take over what `dense_state` gave."""
        self.dense.load_state_dict(state, strict=False)


def make_modules(config: RunConfig, cluster: Cluster) -> Modules:
    """The configured backbone and alignment, freshly drawn from the seed.

    Raises:
        ConfigError: the backbone does not know sampled blocks, or the partition lacks what it or
            the alignment reads.
    """
    seed_everything(config.seed)
    parts, cls = cluster.parts, BACKBONES[config.backbone.name].cls
    if not cls.row_tables:
        able = [name for name in BACKBONES.names() if BACKBONES[name].cls.row_tables]
        raise ConfigError(
            f"backbone '{config.backbone.name}' cannot be trained on parts: choose one of "
            f"{', '.join(able)}"
        )
    if cls.needs_features or config.alignment is not None:
        _require(bool(parts.modalities), "content features", "partition data that have some")
    if "similar" in cls.relations:
        held = any(name.startswith(SIMILAR) for name in parts.relations)
        _require(held, "graphs of content neighbours", "partition again without --without similar")
    features = {name: torch.zeros(1, width) for name, width in parts.modalities.items()}
    backbone = cls(_one_of_each(parts), features, **config.backbone.options)
    alignment = _make_alignment(config, cluster, backbone)
    rows = RemoteRows(cluster, backbone)
    dense = nn.ModuleDict({"backbone": backbone})
    if alignment is not None:
        dense["alignment"] = alignment
    modules = Modules(backbone, alignment, rows, dense)
    cluster.team.copy_first(modules.dense_state().values())
    rows.draw(config.seed)
    return modules


def _require(there: bool, what: str, mend: str) -> None:
    if not there:
        raise ConfigError(f"the partition holds no {what}: {mend}")


def _one_of_each(parts: Parts) -> DGLGraph:
    """A graph of one user and one item, with every relation of the partition."""
    edge = (torch.tensor([0]), torch.tensor([0]))
    ends = {"interacts": ("user", "item"), "interacted_by": ("item", "user")}
    etypes = ((name, ends.get(name, ("item", "item"))) for name in parts.relations)
    return dgl.heterograph({(source, name, end): edge for name, (source, end) in etypes})


def _make_alignment(config: RunConfig, cluster: Cluster, backbone: Backbone) -> Alignment | None:
    if config.alignment is None:
        return None
    parts, cls = cluster.parts, ALIGNERS[config.alignment.name].cls
    raw = backbone.unprojected(parts.modalities)
    data: dict[str, Any] = {
        "feature_dims": dict(raw),
        "missing": {name: tensor(cluster.folder, f"missing_{name}") for name in parts.missing},
    }
    if by := cls.wants_neighbors(config.alignment.options):
        _require(parts.neighbors > 0, "neighbours", "partition again without --without neighbors")
        by = config.neighbors.by or by
        mend = f"partition again with --set neighbors.by={by}"
        _require(parts.neighbors_by == by, f"neighbours by {by}", mend)
        data["neighbors"] = tensor(cluster.folder, "neighbors")
    options = config.alignment.options
    return cls(backbone.representation_dim, tuple(parts.modalities), **data, **options)


class Content(nn.Module):
    """A backbone's content tables as a forward, so that rows can take the place of its tables."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self) -> dict[str, Table]:
        """Modality -> table of the rows that are there."""
        return dict(self.backbone.modalities())


class Located:
    """A table made of some rows only, read by the ids of these rows.

    Args:
        ids: `(n,)` sorted.
        table: `(n, dim)` rows, in that order.
    """

    def __init__(self, ids: Tensor, table: Table) -> None:
        self._place = SomeRows(ids, ids)
        self.table = table

    def __getitem__(self, ids: Tensor, /) -> Tensor:
        return rows_of(self.table, self._place.positions(ids))


def content_of(
    content: Content, cluster: Cluster, rows: Mapping[str, Tensor], items: Tensor
) -> dict[str, Table]:
    """What an alignment reads of content in a batch of which `rows` and `items` are known."""
    in_place = {f"backbone.{name}": table for name, table in rows.items()}
    own: dict[str, Table] = functional_call(content, in_place, ())
    return {
        name: Located(items, own[name]) if name in own else cluster.data("item", f"feature_{name}")
        for name in cluster.parts.modalities
    }
