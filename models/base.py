"""The contract every backbone keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from ..registry import Registry
from ..tensors.representations import Representations
from ..tensors.tables import Table

if TYPE_CHECKING:
    from ..graphs.item_blocks import ItemHops


Features = TypeVar("Features")


class Batch(NamedTuple):
    """Positive pairs with one sampled negative item each."""

    users: Tensor
    """`(batch,)` int64"""
    items: Tensor
    """`(batch,)` int64, items the users interacted with"""
    negatives: Tensor
    """`(batch,)` int64, items the users did not interact with in training"""


RowTables = Mapping[str, Literal["user", "item"]]
"""Names of all parameters and buffers that have a row for each user, or for each item, and of the
modules whose parameters and buffers all do."""

EMBEDDINGS: RowTables = {"user_embedding": "user", "item_embedding": "item"}


class BlockGraph(NamedTuple):
    """What sampled blocks are cut from in an epoch, beside the training edges."""

    kept: Tensor | None = None
    """`(n_kept,)` ids of the `interacts` edges to draw among; None is all of them"""
    similar: ItemHops | None = None
    """graphs between items, whose product `propagation.similar` then is"""


class Backbone(nn.Module):
    """A recommender that turns graphs and ids into representations and its own loss.

    Constructors take `(graph, features, *, options...)`: the heterograph of `graphs.build_graph`,
    the mapping of modality name to `(n_items, d)` features, and keyword-only options with
    defaults, which are what the configuration shows.
    """

    relations: ClassVar[tuple[str, ...]] = ("interacts", "interacted_by")
    """Edge types the graph must hold; `similar` stands for one `similar_<modality>` each."""

    needs_features: ClassVar[bool] = False
    """Whether the backbone cannot work without content features."""

    represents_content: ClassVar[bool] = False
    """Whether the representation of an item follows its content, and so places an item that has
    no interactions."""

    row_tables: ClassVar[RowTables] = {}
    """A backbone that names its tables can be trained on sampled blocks: they are replaced by the
    rows that a batch reads, ids by positions in them, and `forward` gets a `SampledPropagation`.
    Its loss must not read a table but at the rows of the batch."""

    loss_tables: ClassVar[RowTables] = {}
    """Tables that only the loss reads: of them, blocks take the rows of the batch alone."""

    n_layers: int = 0
    """Layers of propagation between users and items that such blocks must hold."""

    representation_dim: int
    """Width of the representations, set by the constructor; alignment works in this dimension."""

    def forward(self) -> Representations:
        """Representations of all users and items, on the training graph while training.

        With `row_tables`, takes `propagation: SampledPropagation | None = None`, and gives the
        rows of the seeds of its blocks.
        """
        raise NotImplementedError

    def aligned(self) -> Representations:
        """What alignment works on, over the whole graph; for most backbones their representations.

        `modalities` are tables of the same space.
        """
        return self()

    def loss(self, batch: Batch, representations: Representations) -> dict[str, Tensor]:
        """Weighted, named terms of the backbone's own loss; their sum is minimised."""
        raise NotImplementedError

    def batch_loss(self, batch: Batch) -> dict[str, Tensor]:
        """`loss(batch, self())`; a backbone may compute the rows of the batch alone.

        Training calls this where no alignment reads the representations.
        """
        return self.loss(batch, self())

    def begin_epoch(self, rng: torch.Generator) -> None:
        """Redraw or rebuild what changes between epochs; all randomness comes from `rng`."""

    def block_graph(self) -> BlockGraph:
        """What the blocks of this epoch are cut from; read after `begin_epoch`."""
        return BlockGraph()

    def modalities(self) -> Mapping[str, Table]:
        """Content tables the backbone projects itself; alignment reuses these projectors."""
        return {}

    def content(self, features: Mapping[str, Table]) -> dict[str, Table]:
        """What an alignment reads of content: `modalities`, and the raw `features` of the others.

        The order is that of `features`.
        """
        return {**features, **self.modalities()}

    def unprojected(self, features: Mapping[str, Features]) -> dict[str, Features]:
        """Those of `features` that `content` leaves raw, so that an alignment projects them."""
        own = self.modalities()
        return {name: table for name, table in features.items() if name not in own}


BACKBONES: Registry[Backbone] = Registry("backbone")
