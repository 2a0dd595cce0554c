"""AlignRec: ids gated by unified content, aligned with ids, with users and with the features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from ..graphs.adjacency import NO_EPS
from ..graphs.dgl_import import DGLGraph
from ..graphs.knn import unified_features
from ..graphs.propagation import BipartitePropagation
from ..tensors.functional import first_order, unit_rows
from ..tensors.ids import Repeated
from ..tensors.products import product, whole_tiles
from ..tensors.representations import Representations
from ..tensors.tables import Projected, xavier_table
from .base import BACKBONES, Backbone, Batch
from .contrast import contrast_of_pairs
from .feature_tables import FeatureTables
from .item_graphs import CosineGraph
from .linear import TableLinear
from .objectives import batch_regulariser, batch_rows, bpr_loss, mean_cosine_distance
from .views import Kept, Views

BLOCK = 512
"""Rows of a block of cosines."""


@BACKBONES.register("alignrec", paper="Liu et al., AlignRec, CIKM 2024")
class AlignRec(Backbone):
    """Ids propagated twice, over the interactions and, gated by content, over similar items.

    Stage 2 of AlignRec as released. With one content table X, `c = E_item * sigmoid(G W X)`,
    `M_item = S^n c` and `M_user = R M_item`; representations are `M + C`, with C LightGCN's layer
    mean of the ids and R its normalised user x item block. S holds the cosines of the given
    features over the edges of `unified`, scaled by its row sums (`CosineGraph`). Beside BPR there
    are four terms, on the rows of the positive pairs, repeats included: InfoNCE from M to C (CCA),
    `1 - cos(user, item)` (UIA), the root mean square of `M_item M_item^T - cos(X)` (SIM), and half
    the squared norm of the batch rows.

    X is the unified vector of stage 1 if that is the only modality; several are put side by side,
    rows scaled to length one. Items without any features are nobody's neighbour and have `M = 0`.
    The published learning rate falls to 0.96 of itself every 50 epochs.

    Args:
        graph: heterograph with the relations `interacts`, `interacted_by` and `unified`, where each
            item should be its own neighbour too; the published number is 10.
        features: modality name -> `(n_items, d_m)`.
        dim: embedding size.
        n_layers: layers on the user-item graph.
        n_item_layers: layers n on the item graph.
        cl_weight: weight of CCA; published runs tried 1e-4 to 0.1.
        uia_weight: weight of UIA.
        sim_weight: weight of SIM; published runs tried 0.1 to 0.5.
        reg_weight: weight of half the squared norm of the batch rows, per batch row.
        reg_batch_size: divide that norm by this number instead of by the number of batch rows; the
            released code takes the configured batch size even for a smaller last batch.
        temperature: of CCA.
        symmetric: mean of both directions of CCA; else content is the anchor, as released.
        trainable_features: train a copy of X, as the released code does; else it stays frozen, out
            of the optimiser and of checkpoints, and only W and G learn.
        sim_target: what SIM keeps close to: `frozen`, the given features, or `live`, the present
            values of X. The latter is an accident of shared memory in the released code and
            differs only with `trainable_features`.
    """

    relations: ClassVar[tuple[str, ...]] = ("interacts", "interacted_by", "unified")
    needs_features: ClassVar[bool] = True
    represents_content: ClassVar[bool] = True
    initial: Tensor | None

    def __init__(
        self,
        graph: DGLGraph,
        features: Mapping[str, Tensor],
        *,
        dim: PositiveInt = 64,
        n_layers: NonNegativeInt = 2,
        n_item_layers: NonNegativeInt = 1,
        cl_weight: NonNegativeFloat = 0.01,
        uia_weight: NonNegativeFloat = 0.1,
        sim_weight: NonNegativeFloat = 0.1,
        reg_weight: NonNegativeFloat = 1e-4,
        reg_batch_size: PositiveInt | None = None,
        temperature: PositiveFloat = 0.2,
        symmetric: bool = False,
        trainable_features: bool = False,
        sim_target: Literal["frozen", "live"] = "frozen",
    ) -> None:
        super().__init__()
        self.representation_dim = dim
        self.n_layers, self.n_item_layers = n_layers, n_item_layers
        self.cl_weight, self.uia_weight, self.sim_weight = cl_weight, uia_weight, sim_weight
        self.reg_weight, self.reg_batch_size = reg_weight, reg_batch_size
        self.temperature, self.symmetric = temperature, symmetric
        self.names = tuple(features)
        content = unified_features(features)
        self.propagation = BipartitePropagation.from_graph(graph, eps=NO_EPS)
        self.item_graph = CosineGraph(graph, "unified", content)
        self.user_embedding = xavier_table(graph.num_nodes("user"), dim)
        self.item_embedding = xavier_table(graph.num_nodes("item"), dim)
        self.features = FeatureTables({"content": content}, trainable=trainable_features)
        kept = content if trainable_features and sim_target == "frozen" else None
        self.register_buffer("initial", kept, persistent=False)
        self.projector = TableLinear(len(content), content.shape[1], dim)
        self.gate = TableLinear(len(content), dim, dim)
        self.last: Kept[Views] = Kept()

    def forward(self) -> Representations:
        """`(n_users, dim)` and `(n_items, dim)`.

        The two sides of this call are kept for the terms of `loss`.
        """
        user, item = self.propagation(self.user_embedding, self.item_embedding, self.n_layers)
        gate = self.gate(self.projector(self.features["content"])).sigmoid()
        content = self.item_embedding * gate
        for _ in range(self.n_item_layers):
            content = self.item_graph(content)
        of_users = self.propagation.to_user(content)
        views = Views(Representations(user, item), Representations(of_users, content))
        self.last.keep(views)
        return views.total()

    def loss(self, batch: Batch, representations: Representations) -> dict[str, Tensor]:
        """Terms `bpr`, `reg`, `cca_user`, `cca_item`, `uia` and `sim`, unless their weight is 0.

        CCA and SIM are of the last `forward`.
        """
        rows = batch_rows(*representations, batch)
        terms = {"bpr": bpr_loss(rows, eps=0)}
        if self.reg_weight > 0:
            terms["reg"] = self.reg_weight * batch_regulariser(rows, self.reg_batch_size)
        if self.cl_weight > 0:
            terms |= self._content_to_ids(batch)
        if self.uia_weight > 0:
            distance = mean_cosine_distance(unit_rows(rows.user), unit_rows(rows.positive))
            terms["uia"] = self.uia_weight * distance
        if self.sim_weight > 0:
            terms["sim"] = self.sim_weight * self._similarity_gap(batch.items)
        return terms

    def _content_to_ids(self, batch: Batch) -> dict[str, Tensor]:
        """Terms `cca_user` and `cca_item`, means over the positive pairs."""
        own, content = self.last.read()
        terms = contrast_of_pairs(content, own, batch, self.temperature)
        if self.symmetric:
            back = contrast_of_pairs(own, content, batch, self.temperature)
            terms = {name: (value + back[name]) / 2 for name, value in terms.items()}
        return {f"cca_{name[3:]}": self.cl_weight * value for name, value in terms.items()}

    def _similarity_gap(self, items: Tensor) -> Tensor:
        """SIM of the items of the positive pairs; the target has no gradient."""
        distinct, _, counts = Repeated.of_batch(items)
        target = self.features["content"] if self.initial is None else self.initial
        return similarity_gap(
            self.last.read().content.item.index_select(0, distinct),
            unit_rows(target.detach().index_select(0, distinct)),
            counts,
        )

    def modalities(self) -> Mapping[str, Projected]:
        """Content through `W`, where it is of one modality; none where several are unified."""
        if len(self.names) > 1:
            return {}
        return {self.names[0]: Projected(self.features["content"], self.projector)}


def similarity_gap(content: Tensor, target: Tensor, counts: Tensor) -> Tensor:
    """Root mean square of `content content^T - target target^T` over all pairs of batch rows.

    Rows are distinct items that stand for `counts` batch rows each. As `(sqrt(n_i) x_i) .
    (sqrt(n_j) x_j)` is `sqrt(n_i n_j) x_i . x_j`, repeats are only scaled rows.

    Args:
        content: `(n, dim)`, of any length.
        target: `(n, d)` unit rows, without gradient.
        counts: `(n,)` int64.
    """
    share = (counts.to(content) / counts.sum()).sqrt().unsqueeze(1)
    return _GapNorm.apply(content * share, target * share)


class _GapNorm(torch.autograd.Function):
    """Frobenius norm of `x x^T - y y^T` of a constant y; the gradient is formed in the same pass.

    The matrix is symmetric: of a block of rows, only the columns from the diagonal on exist.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        n, x, y = len(x), whole_tiles(x), whole_tiles(y)
        squares, weighted = x.new_zeros(()), torch.zeros_like(x)
        for start in range(0, len(x), BLOCK):
            block, after = slice(start, start + BLOCK), slice(start + BLOCK, None)
            gap = product(x[block], x[start:].T) - product(y[block], y[start:].T)
            mirrored = gap[:, BLOCK:].T.contiguous()
            squares += gap.square().sum() + mirrored.square().sum()
            weighted[block] += product(gap, x[start:])
            weighted[after] += product(mirrored, x[block])
        norm = squares.sqrt()
        tiny = torch.finfo(norm.dtype).tiny  # equal tables have no gradient
        ctx.save_for_backward(weighted[:n] * (2 / norm.clamp_min(tiny)))
        return norm

    @staticmethod
    @first_order
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return grad * gradient, None
