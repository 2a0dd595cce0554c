"""A small encoder and the features of a few items."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from crossalign.encoders import EncoderOptions, MultimodalEncoder

WIDTHS = {"smell": 11, "sound": 6}
SMALL = EncoderOptions(dim=16, n_heads=2, n_tokens=3, dropout=0.0, device="cpu")


@pytest.fixture
def encoder() -> MultimodalEncoder:
    """An untrained encoder in float64, whose every parameter is random."""
    torch.manual_seed(3)
    encoder = MultimodalEncoder(WIDTHS, SMALL).double().eval()
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return encoder


@pytest.fixture
def tables() -> dict[str, Tensor]:
    """Features of ten items, float64."""
    rng = torch.Generator().manual_seed(5)
    return {name: torch.randn(10, width, generator=rng).double() for name, width in WIDTHS.items()}
