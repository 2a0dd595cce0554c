"""Unified features of items, by a pre-trained encoder."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .items import gather_items
from .multiway import MultimodalEncoder

CHUNK = 1024
"""Items encoded at a time."""


@torch.no_grad()
def encode(
    encoder: MultimodalEncoder,
    features: Mapping[str, Tensor],
    missing: Mapping[str, Tensor] | None = None,
    drop: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """The CLS of every item with all its modalities fed together, `(n_items, dim)`, on the CPU.

    Args:
        encoder: from `pretrain`; put into evaluation mode.
        features: modality name -> `(n_items, width)`, of all modalities the encoder reads.
        missing: modality name -> `(n_items,)` bool, True where an item lacks it.
        drop: modality name -> `(n_items,)` bool, True where a modality is to be hidden at the
            encoder's input as if the item lacked it, for the mask-modality protocol.

    Raises:
        DataError: a table is missing, or a mask does not fit.
        ConfigError: a mask names an unknown modality.
    """
    encoder.eval()
    device, dtype = encoder.cls_token.device, encoder.cls_token.dtype
    items = gather_items(encoder.widths, features, missing, drop, dtype=dtype)
    blocks = []
    for start in range(0, len(items), CHUNK):
        block = items.take(slice(start, start + CHUNK), device)
        blocks.append(encoder(encoder.chunks(block.tables), block.present).cls.cpu())
    return torch.cat(blocks)
