"""The features of one modality as tokens, and back."""

from __future__ import annotations

import torch
from torch import Tensor, nn

TOKEN_STD = 0.02
"""Standard deviation of learned tokens and embeddings at the start, as in BERT."""

ROUTES = ("token", "cls")
"""Outputs a hidden chunk is predicted from: its own token, and the CLS."""


class ModalityTokens(nn.Module):
    """Cuts features into chunks, makes a token of each, and predicts chunks from outputs.

    Features are centred by column and divided by one number, the root mean square of what is left
    over all columns. That keeps the geometry of the modality, which scaling every column would
    not, and makes modalities of any scale weigh the same in the loss.

    Args:
        width: number of columns.
        n_tokens: number of chunks; never more than columns.
        dim: width of the tokens.

    Attributes:
        n_tokens: number of chunks.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, width: int, n_tokens: int, dim: int) -> None:
        super().__init__()
        self.n_tokens = min(n_tokens, width)
        widths = [len(part) for part in torch.arange(width).tensor_split(self.n_tokens)]
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(()))
        self.embeddings = nn.ModuleList(nn.Linear(part, dim) for part in widths)
        self.place = nn.Parameter(TOKEN_STD * torch.randn(self.n_tokens, dim))
        self.hidden = nn.Parameter(TOKEN_STD * torch.randn(dim))
        self.token_heads = nn.ModuleList(prediction_head(dim, part) for part in widths)
        self.cls_heads = nn.ModuleList(prediction_head(dim, part) for part in widths)

    @torch.no_grad()
    def calibrate(self, rows: Tensor) -> None:
        """Take mean and scale from `rows` `(n, width)`; constant features get scale one."""
        if len(rows) == 0:
            return
        self.mean.copy_(rows.mean(0))
        scale = (rows - self.mean).square().mean().sqrt()
        rounding = 1e-6 * rows.abs().amax()
        self.scale.copy_(torch.where(scale > rounding, scale, 1.0))

    def chunks(self, rows: Tensor) -> list[Tensor]:
        """Standardised chunks of `rows` `(n, width)`: `n_tokens` tensors `(n, width_t)`."""
        return list(((rows - self.mean) / self.scale).tensor_split(self.n_tokens, dim=1))

    def forward(self, chunks: list[Tensor], masked: Tensor) -> Tensor:
        """Tokens `(n, n_tokens, dim)`: embedded chunks, or the learned hidden token where `masked`.

        A learned embedding of modality and place is added to both.

        Args:
            chunks: `n_tokens` tensors `(n, width_t)`.
            masked: `(n, n_tokens)` bool.
        """
        pairs = zip(self.embeddings, chunks, strict=True)
        tokens = torch.stack([embed(chunk) for embed, chunk in pairs], dim=1)
        return torch.where(masked.unsqueeze(2), self.hidden, tokens) + self.place

    def predict(self, cls: Tensor, tokens: Tensor) -> dict[str, list[Tensor]]:
        """Chunks predicted from `tokens` `(n, n_tokens, dim)` and from `cls` `(n, dim)`, by route.

        The second keeps the encoder honest: without it no loss would reach the CLS output.
        """
        return {
            "token": [head(x) for head, x in zip(self.token_heads, tokens.unbind(1), strict=True)],
            "cls": [head(cls) for head in self.cls_heads],
        }


def prediction_head(dim: int, width: int) -> nn.Linear:
    """`Linear(dim, width)` that starts next to the predictor of the mean, which is zero."""
    head = nn.Linear(dim, width)
    nn.init.normal_(head.weight, std=0.1 * TOKEN_STD)
    nn.init.zeros_(head.bias)
    return head
