"""LATTICE: an item graph that is learned from the projected content."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import normalize

from ..graphs.adjacency import Adjacency
from ..graphs.dgl_import import DGLGraph
from ..graphs.sparse_pattern import SparsePattern, nearest_rows, normalised_by_row_sums
from ..tensors.functional import full_precision, widened
from ..tensors.representations import Representations
from ..tensors.tables import Projected, xavier_table
from .base import BACKBONES, Backbone, Batch
from .feature_tables import FeatureTables
from .item_graphs import PREFIX, CosineGraph
from .linear import TableLinear
from .objectives import batch_regulariser, batch_rows, bpr_loss


@BACKBONES.register("lattice", paper="Zhang et al., LATTICE, MM 2021")
class LATTICE(Backbone):
    """User-item propagation plus an item graph mined from content, part fixed and part learned.

    With `w = softmax(modal_weight)` and `N(.)` the symmetric normalisation by row sums, the item
    graph is `S = l sum_m w_m N(S_m) + (1 - l) N(sum_m w_m L_m)`: S_m holds the cosines of the raw
    features over the edges of `similar_m`, L_m the largest cosines of each row of the projected
    features. Items are `propagated + S^n E_item / |S^n E_item|`. The learned part is built again
    in the first batch of each epoch, with gradients through the kept cosines; later batches use
    it as a constant, and each evaluation builds it anew. Only kept entries are ever stored.

    An item without neighbours in `similar_m` has no such content and stays out of L_m.

    Args:
        graph: heterograph with `interacts` and one `similar_<modality>` for each of `features`.
        features: modality name -> `(n_items, d_m)`.
        dim: embedding size, also of the projected content.
        n_layers: layers on the user-item graph `D^-1 (A + I)`, averaged with layer 0.
        n_item_layers: layers n on the item graph.
        n_neighbors: entries kept in each row of L_m, the item itself included.
        original_share: share l of the fixed graphs.
        reg_weight: weight of half the squared norm of the propagated batch rows, per batch row.
        reg_batch_size: divide that norm by this number instead of by the number of batch rows; the
            published code takes the configured batch size even for a smaller last batch.
        trainable_features: train copies of the feature tables, as the published code does; else
            they stay frozen and only the projectors learn.
    """

    relations: ClassVar[tuple[str, ...]] = ("interacts", "similar")
    needs_features: ClassVar[bool] = True
    represents_content: ClassVar[bool] = True
    item_values: Tensor

    def __init__(
        self,
        graph: DGLGraph,
        features: Mapping[str, Tensor],
        *,
        dim: PositiveInt = 64,
        n_layers: NonNegativeInt = 2,
        n_item_layers: NonNegativeInt = 1,
        n_neighbors: PositiveInt = 10,
        original_share: Annotated[float, Field(ge=0, le=1)] = 0.9,
        reg_weight: NonNegativeFloat = 0.0,
        reg_batch_size: PositiveInt | None = None,
        trainable_features: bool = False,
    ) -> None:
        super().__init__()
        self.representation_dim = dim
        self.n_layers = n_layers
        self.n_item_layers = n_item_layers
        self.n_neighbors = n_neighbors
        self.original_share = original_share
        self.reg_weight = reg_weight
        self.reg_batch_size = reg_batch_size
        self.propagation = _with_self_loops(graph)
        self.originals = nn.ModuleDict(
            {name: CosineGraph(graph, f"{PREFIX}{name}", x) for name, x in features.items()}
        )
        self.user_embedding = xavier_table(graph.num_nodes("user"), dim)
        self.item_embedding = xavier_table(graph.num_nodes("item"), dim)
        self.features = FeatureTables(features, trainable=trainable_features)
        self.projectors = nn.ModuleDict(
            {name: TableLinear(len(table), table.shape[1], dim) for name, table in features.items()}
        )
        self.modal_weight = nn.Parameter(torch.full((len(features),), 1 / len(features)))
        self.item_pattern: SparsePattern | None = None
        self.register_buffer("item_values", torch.empty(0), persistent=False)

    def begin_epoch(self, rng: torch.Generator) -> None:
        """Have the next batch build the item graph again; nothing is random."""
        self.item_pattern = None

    def forward(self) -> Representations:
        """`(n_users, dim)` and `(n_items, dim)`."""
        layer = torch.cat([self.user_embedding, self.item_embedding])
        total = layer
        for _ in range(self.n_layers):
            layer = self.propagation(layer)
            total = total + layer
        sizes = [len(self.user_embedding), len(self.item_embedding)]
        user, item = (total / (self.n_layers + 1)).split(sizes)
        return Representations(user, item + normalize(self._propagate_items()))

    def _propagate_items(self) -> Tensor:
        """`S^n E_item`, `(n_items, dim)`."""
        pattern, values = self.item_pattern, self.item_values
        if pattern is None or not self.training:
            pattern, values = self.item_graph()
            if self.training and torch.is_grad_enabled():
                self.item_pattern, self.item_values = pattern, values.detach()
        item: Tensor = self.item_embedding
        for _ in range(self.n_item_layers):
            item = pattern(values, item)
        return item

    def item_graph(self) -> tuple[SparsePattern, Tensor]:
        """The item graph S of the current parameters: where it has entries, and their values.

        The values `(n_edges,)` have gradients to `modal_weight`, the projectors and, if they are
        trained, the features.
        """
        n_items, weights = len(self.item_embedding), self.modal_weight.softmax(0)
        fixed, learned = [], []
        for weight, (name, original) in zip(weights, self.originals.items(), strict=True):
            assert isinstance(original, CosineGraph)
            fixed_values = self.original_share * weight * original.values
            fixed.append((original.pattern.rows, original.pattern.cols, fixed_values))
            content = normalize(widened(self.projectors[name](self.features[name])))
            nearest = full_precision(nearest_rows)
            rows, cols = nearest(content, self.n_neighbors, original.present)
            cosines = SparsePattern(rows, cols, n_items, n_items).dot(content, content)
            learned.append((rows, cols, weight * cosines))
        rows, cols, values = _joined(learned)
        values = (1 - self.original_share) * normalised_by_row_sums(values, rows, cols, n_items)
        rows, cols, values = _joined([(rows, cols, values), *fixed])
        return SparsePattern(rows, cols, n_items, n_items), values

    def loss(self, batch: Batch, representations: Representations) -> dict[str, Tensor]:
        """Terms `bpr` and, unless its weight is 0, `reg`, both on propagated rows."""
        rows = batch_rows(*representations, batch)
        terms = {"bpr": bpr_loss(rows, eps=0)}
        if self.reg_weight > 0:
            terms["reg"] = self.reg_weight * batch_regulariser(rows, self.reg_batch_size)
        return terms

    def modalities(self) -> Mapping[str, Projected]:
        """Content through this backbone's own projectors."""
        return self.features.through(self.projectors)


def _joined(parts: Iterable[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Rows, columns and values of several lists of entries, one after the other."""
    return tuple(torch.cat(part) for part in zip(*parts, strict=True))


def _with_self_loops(graph: DGLGraph) -> Adjacency:
    """`D^-1 (A + I)` over the users followed by the items."""
    users, items = graph.edges(etype="interacts", order="eid")
    n_users, n_nodes = graph.num_nodes("user"), graph.num_nodes("user") + graph.num_nodes("item")
    loops, items = torch.arange(n_nodes), items + n_users
    src, dst = torch.cat([users, items, loops]), torch.cat([items, users, loops])
    return Adjacency.from_edges(src, dst, n_nodes, n_nodes, norm="row", eps=0)
