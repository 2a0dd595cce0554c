"""SMORE: content filtered and fused in the frequency domain of its channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, ClassVar, Literal, cast

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import dropout as drop

from ..errors import unknown_name
from ..graphs.adjacency import NO_EPS
from ..graphs.dgl_import import DGLGraph
from ..graphs.propagation import BipartitePropagation
from ..tensors.functional import widened
from ..tensors.ids import Repeated, at_hand, joined
from ..tensors.representations import Representations
from ..tensors.tables import Projected, xavier_table
from .base import BACKBONES, Backbone, Batch
from .contrast import TwoViewWeights, loss_of_two_views
from .feature_tables import FeatureTables
from .item_graphs import PREFIX, CosineGraph, UnionGraph
from .linear import TableLinear
from .views import Kept, Views


@BACKBONES.register("smore", paper="Ong and Khong, SMORE, WSDM 2025")
class SMORE(Backbone):
    """Ids gated by filtered content, one view for each modality and one for all of them together.

    With the spectra `F_m = rfft(T_m X_m)` along the channels, content is `b_m = irfft(c_m F_m)`,
    and together `b_f = irfft(c_f prod_m F_m)`, c learned and complex. Gated ids
    `E_item * sigmoid(G b)` run over the item graph of the view and on to the users: Z. With C
    LightGCN's layer mean of the ids, representations are `C + side`, where
    `side = mean(w_1 a_1, ..., w_f Z_f)` over the M + 1 views, `a_m = softmax(Y_m(Z_f)) * Z_m` (over
    the channels of a row) and `w = sigmoid(F C)`, as in the released code. Beside BPR,
    InfoNCE in the batch leads from side to C.

    The item graph of a modality holds the cosines of the given features over `similar_m`, scaled
    by its row sums (`CosineGraph`), where items should be their own neighbours; that of all
    together is their union with the largest values. An item without a modality has no edges in its
    graph and no gated id, and its spectrum is left out of the product. The published learning rate
    falls to 0.96 of itself every 50 epochs.

    Args:
        graph: heterograph with `interacts` and one `similar_<modality>` for each of `features`.
        features: modality name -> `(n_items, d_m)`.
        dim: embedding size, also of the projected content.
        n_layers: layers on the user-item graph; published runs took 3 or 4.
        n_item_layers: layers on the item graphs.
        n_neighbors: neighbours by modality name; those of the graph for others.
        normalise_fusion: scale the union of the item graphs by its own row sums.
        dropout: share of the preferences w set to zero while training; published runs took 0.1 too.
        cl_weight: weight of the contrast.
        temperature: of the contrast.
        reg_weight: weight of half the squared norm of the batch rows, per batch row.
        reg_batch_size: divide that norm by this number instead of by the number of batch rows; the
            released code takes the configured batch size even for a smaller last batch.
        aligned_content: what an alignment reads: `projected`, `T_m X_m`, or `filtered`, b_m.
        trainable_features: train copies of the feature tables, as the released code does; else
            they stay frozen and only the projectors learn.
    """

    relations: ClassVar[tuple[str, ...]] = ("interacts", "similar")
    needs_features: ClassVar[bool] = True
    represents_content: ClassVar[bool] = True
    present: Tensor

    def __init__(
        self,
        graph: DGLGraph,
        features: Mapping[str, Tensor],
        *,
        dim: PositiveInt = 64,
        n_layers: NonNegativeInt = 3,
        n_item_layers: NonNegativeInt = 1,
        n_neighbors: Mapping[str, PositiveInt] | None = None,
        normalise_fusion: bool = False,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        cl_weight: NonNegativeFloat = 0.01,
        temperature: PositiveFloat = 0.2,
        reg_weight: NonNegativeFloat = 1e-4,
        reg_batch_size: PositiveInt | None = None,
        aligned_content: Literal["projected", "filtered"] = "projected",
        trainable_features: bool = False,
    ) -> None:
        super().__init__()
        kept = dict(n_neighbors or {})
        for name in kept:
            if name not in features:
                raise unknown_name("modality", name, tuple(features))
        self.representation_dim = dim
        self.n_layers, self.n_item_layers = n_layers, n_item_layers
        self.dropout = dropout
        self.cl_weight, self.temperature = cl_weight, temperature
        self.reg_weight, self.reg_batch_size = reg_weight, reg_batch_size
        self.aligned_content = aligned_content
        n_users, n_items = graph.num_nodes("user"), graph.num_nodes("item")
        self.propagation = BipartitePropagation.from_graph(graph, eps=NO_EPS)
        graphs = {
            name: CosineGraph(graph, f"{PREFIX}{name}", table, kept.get(name))
            for name, table in features.items()
        }
        self.item_graphs = nn.ModuleDict(graphs)
        self.fused_graph = UnionGraph(graphs.values(), normalise=normalise_fusion)
        self.user_embedding = xavier_table(n_users, dim)
        self.item_embedding = xavier_table(n_items, dim)
        present = torch.stack([table.any(dim=1) for table in features.values()], dim=1)
        self.complete = bool(present.all())
        self.register_buffer("present", present, persistent=False)
        self.features = FeatureTables(features, trainable=trainable_features)
        self.projectors = nn.ModuleDict(
            {name: TableLinear(n_items, table.shape[1], dim) for name, table in features.items()}
        )
        self.gates = nn.ModuleDict({name: Gate(n_users, n_items, dim) for name in features})
        self.fused_gate = Gate(n_users, n_items, dim)
        n_nodes = n_users + n_items
        self.queries = nn.ModuleDict(
            {
                name: nn.Sequential(
                    TableLinear(n_nodes, dim, dim),
                    nn.Tanh(),
                    TableLinear(n_nodes, dim, dim, bias=False),
                )
                for name in features
            }
        )
        self.last: Kept[Views] = Kept()

    def forward(self) -> Representations:
        """`(n_users, dim)` and `(n_items, dim)`.

        The two sides of this call are kept for the terms of `loss`.
        """
        ids = self._ids()
        return self._keep(ids, self._side(ids, self._gated_ids()), self.user_embedding)

    def batch_loss(self, batch: Batch) -> dict[str, Tensor]:
        """`loss`, for which views are mixed at the nodes of the batch alone.

        Where the host does not know which these are, it does not wait to hear of it.
        """
        if not at_hand(batch.users):
            return super().batch_loss(batch)
        users = Repeated.of_batch(batch.users)
        items = Repeated.of_batch(joined(batch.items, batch.negatives))
        nodes = torch.cat([users.ids, items.ids + len(self.user_embedding)])
        ids, *views = (table.index_select(0, nodes) for table in (self._ids(), *self._gated_ids()))
        representations = self._keep(ids, self._side(ids, views), users.ids)
        return self.loss(Batch(users.of, *items.of.split(len(batch.items))), representations)

    def _ids(self) -> Tensor:
        """C, `(n_users + n_items, dim)`."""
        tables = self.user_embedding, self.item_embedding
        return torch.cat(self.propagation(*tables, self.n_layers))

    def _keep(self, ids: Tensor, side: Tensor, users: Tensor) -> Representations:
        """The sum of both sides, of as many users as `users` has rows and then of items."""
        sizes = [len(users), len(ids) - len(users)]
        views = Views(*(Representations(*x.split(sizes)) for x in (ids, side)))
        self.last.keep(views)
        return views.total()

    def _side(self, ids: Tensor, views: list[Tensor]) -> Tensor:
        """What content adds to C at some nodes, `(n, dim)`, of C and Z there."""
        *views, fused = views
        wanted = [self.dropped(gate.preference(ids).sigmoid()) for gate in self._every_gate()]
        total = wanted.pop() * fused
        for query, share, view in zip(self.queries.values(), wanted, views, strict=True):
            total = total + share * (query(fused).softmax(dim=1) * view)
        return total / (len(views) + 1)

    def _gated_ids(self) -> list[Tensor]:
        """Z of every modality and of all together, `(n_users + n_items, dim)` each."""
        spectra = [spectrum(layer(self.features[m])) for m, layer in self.projectors.items()]
        graphs: list[nn.Module] = [*self.item_graphs.values(), self.fused_graph]
        held = [*self.present.T, self.present.any(dim=1)]
        views = []
        for signal, gate, graph, there in zip(
            [*spectra, self._product(spectra)], self._every_gate(), graphs, held, strict=True
        ):
            item = self.item_embedding * gate(signal)
            if not self.complete:
                item = item * there.unsqueeze(1)
            for _ in range(self.n_item_layers):
                item = graph(item)
            views.append(torch.cat([self.propagation.to_user(item), item]))
        return views

    def _every_gate(self) -> list[Gate]:
        """Those of the modalities, and the one of all together."""
        return [*(cast(Gate, gate) for gate in self.gates.values()), self.fused_gate]

    def _product(self, spectra: list[Tensor]) -> Tensor:
        """Product of the spectra that an item has, `(n_items, dim // 2 + 1)` complex."""
        total = torch.ones_like(spectra[0])
        for signal, there in zip(spectra, self.present.T, strict=True):
            factor = signal if self.complete else signal.where(there.unsqueeze(1), 1)
            total = total * factor
        return total

    def dropped(self, preferences: Tensor) -> Tensor:
        """`preferences`, of which a share is zero while training and the others are scaled."""
        return drop(preferences, self.dropout, self.training)

    def loss(self, batch: Batch, representations: Representations) -> dict[str, Tensor]:
        """Terms `bpr`, and unless their weight is 0 `reg`, `cl_user` and `cl_item`.

        The contrast is of the last `forward`.
        """
        weights = TwoViewWeights(
            self.reg_weight, self.reg_batch_size, self.cl_weight, self.temperature
        )
        return loss_of_two_views(batch, representations, self.last, weights)

    def modalities(self) -> Mapping[str, Projected]:
        """Content through this backbone's own projectors, filtered where `aligned_content` says."""
        projected = self.features.through(self.projectors)
        if self.aligned_content == "projected":
            return projected
        return {name: Projected(table, self._filter(name)) for name, table in projected.items()}

    def _filter(self, name: str) -> Callable[[Tensor], Tensor]:
        """From rows of projected content to filtered ones."""
        gate = cast(Gate, self.gates[name])
        return lambda content: gate.filtered(spectrum(content))


class Gate(nn.Module):
    """What one view learns: a filter of content, the gate that it opens, and who wants the view.

    Args:
        n_users: number of users.
        n_items: number of items.
        dim: channels.
    """

    def __init__(self, n_users: int, n_items: int, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.filter = nn.Parameter(torch.randn(1, dim // 2 + 1, 2))
        self.gate = TableLinear(n_items, dim, dim)
        self.preference = TableLinear(n_users + n_items, dim, dim)

    def filtered(self, signal: Tensor) -> Tensor:
        """Content of a spectrum `(n, dim // 2 + 1)` after the filter, `(n, dim)`."""
        kept = signal * torch.view_as_complex(widened(self.filter))
        return torch.fft.irfft(kept, n=self.dim, norm="ortho")

    def forward(self, signal: Tensor) -> Tensor:
        """How far the gate is open for every item and channel, `(n_items, dim)`."""
        return self.gate(self.filtered(signal)).sigmoid()


def spectrum(content: Tensor) -> Tensor:
    """Orthonormal spectrum of the channels of each row, `(n, dim // 2 + 1)`, complex."""
    return torch.fft.rfft(widened(content), norm="ortho")
