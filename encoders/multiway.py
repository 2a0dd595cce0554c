"""A small multiway transformer over feature tokens of any number of modalities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from .options import EncoderOptions
from .tokens import TOKEN_STD, ModalityTokens


class Encoded(NamedTuple):
    """What the encoder makes of some items."""

    cls: Tensor
    """`(n, dim)`, the unified features"""
    tokens: list[Tensor]
    """by modality, `(n, n_tokens, dim)`"""


class MultiwayLayer(nn.Module):
    """Self-attention shared by all tokens, then a feed-forward network of each token's modality.

    Normalisation comes first in both. Source: BEiT-3 (Wang et al., CVPR 2023), section 2.1.

    Args:
        lengths: numbers of successive tokens that share a feed-forward network.
        options: `dim`, `n_heads`, `ffn_ratio` and `dropout` are used.
    """

    def __init__(self, lengths: Sequence[int], options: EncoderOptions) -> None:
        super().__init__()
        dim, hidden = options.dim, options.dim * options.ffn_ratio
        self.lengths = list(lengths)
        self.n_heads = options.n_heads
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))
        self.attention_in = nn.Linear(dim, 3 * dim)
        self.attention_out = nn.Linear(dim, dim)
        self.feed_forward = nn.ModuleList(
            nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))
            for _ in self.lengths
        )
        self.dropout = nn.Dropout(options.dropout)

    def forward(self, x: Tensor, visible: Tensor) -> Tensor:
        """New states `(n, n_tokens, dim)`.

        Args:
            x: `(n, n_tokens, dim)`.
            visible: `(n, n_tokens)` bool, the tokens that may be attended to.
        """
        x = x + self.dropout(self._attend(self.norms[0](x), visible))
        parts = zip(self.feed_forward, self.norms[1](x).split(self.lengths, dim=1), strict=True)
        return x + self.dropout(torch.cat([network(part) for network, part in parts], dim=1))

    def _attend(self, x: Tensor, visible: Tensor) -> Tensor:
        heads = self.attention_in(x).unflatten(2, (3, self.n_heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # each (n, n_heads, n_tokens, dim_head)
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=visible[:, None, None])
        return self.attention_out(mixed.transpose(1, 2).flatten(2))


class MultimodalEncoder(nn.Module):
    """Unifies the features of an item into one vector, its CLS.

    A surrogate of AlignRec's MMEnc (Liu et al., CIKM 2024). The paper feeds images and texts to
    BEiT-3, and neither its code nor its checkpoint is public. This one is trained from
    nothing, reads feature vectors that other encoders have made, and its "patches" and "words"
    are chunks of their columns. Say so wherever a result uses it.

    Args:
        widths: modality name -> number of columns.
        options: sizes of the encoder.

    Attributes:
        widths: modality name -> number of columns.
        modalities: names of the modalities, in the order of all `(n, n_modalities)` arguments.
        owner: `(n_tokens,)` index of the modality each token belongs to; all tokens, CLS excluded.
    """

    cls_token: Tensor
    owner: Tensor

    def __init__(self, widths: Mapping[str, int], options: EncoderOptions) -> None:
        super().__init__()
        self.widths = dict(widths)
        self.modalities = tuple(widths)
        self.options = options
        views = [ModalityTokens(width, options.n_tokens, options.dim) for width in widths.values()]
        self.views = cast("Sequence[ModalityTokens]", nn.ModuleList(views))
        self.lengths = [view.n_tokens for view in self.views]
        owner = torch.arange(len(self.lengths)).repeat_interleave(torch.tensor(self.lengths))
        self.register_buffer("owner", owner, persistent=False)
        self.cls_token = nn.Parameter(TOKEN_STD * torch.randn(options.dim))
        self.layers = nn.ModuleList(
            MultiwayLayer([1, *self.lengths], options) for _ in range(options.n_layers)
        )
        self.norm = nn.LayerNorm(options.dim)

    def chunks(self, tables: Sequence[Tensor]) -> list[list[Tensor]]:
        """Standardised chunks of each modality's rows `(n, width)`."""
        return [view.chunks(rows) for view, rows in zip(self.views, tables, strict=True)]

    def forward(
        self, chunks: Sequence[list[Tensor]], visible: Tensor, masked: Tensor | None = None
    ) -> Encoded:
        """Encode items.

        Args:
            chunks: by modality, what `chunks` gives.
            visible: `(n, n_modalities)` bool, the modalities that are shown. No token attends to
                those of another; an item that shows none gets the CLS of nothing.
            masked: `(n, n_tokens)` bool, chunks to replace by the learned hidden token; by default
                none.
        """
        if masked is None:
            masked = visible.new_zeros(len(visible), len(self.owner))
        parts = zip(self.views, chunks, masked.split(self.lengths, dim=1), strict=True)
        cls = self.cls_token.expand(len(visible), 1, -1)
        x = torch.cat([cls, *(view(chunk, hide) for view, chunk, hide in parts)], dim=1)
        attended = torch.cat([visible.new_ones(len(visible), 1), visible[:, self.owner]], dim=1)
        for layer in self.layers:
            x = layer(x, attended)
        cls, *tokens = self.norm(x).split([1, *self.lengths], dim=1)
        return Encoded(cls.squeeze(1), tokens)

    def predict(self, encoded: Encoded) -> list[dict[str, list[Tensor]]]:
        """By modality: chunks predicted from their own token and from the CLS, by route."""
        pairs = zip(self.views, encoded.tokens, strict=True)
        return [view.predict(encoded.cls, tokens) for view, tokens in pairs]
