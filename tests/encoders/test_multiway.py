"""The encoder: what it may look at, and what its layers share."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm

from crossalign.encoders import EncoderOptions, MultimodalEncoder
from crossalign.encoders.multiway import MultiwayLayer
from crossalign.errors import ConfigError


def chunks_of(encoder: MultimodalEncoder, tables: dict[str, Tensor]) -> list[list[Tensor]]:
    return encoder.chunks([tables[name] for name in encoder.modalities])


def all_visible(tables: dict[str, Tensor]) -> Tensor:
    return torch.ones(len(next(iter(tables.values()))), len(tables), dtype=torch.bool)


@torch.no_grad()
def test_layer_equals_attention_written_as_loops() -> None:
    torch.manual_seed(0)
    lengths, n, dim, heads = [1, 2, 3], 4, 8, 2
    options = EncoderOptions(dim=dim, n_heads=heads, dropout=0.0)
    layer = MultiwayLayer(lengths, options).double()
    x = torch.randn(n, 6, dim).double()
    visible = torch.rand(n, 6) < 0.6
    visible[:, 0] = True
    expected = x.clone()
    for item in range(n):
        normal = layer_norm(x[item], (dim,), layer.norms[0].weight, layer.norms[0].bias)
        query, key, value = (normal @ layer.attention_in.weight.T + layer.attention_in.bias).chunk(
            3, dim=1
        )
        for token in range(6):
            mixed = []
            for head in range(heads):
                part = slice(head * dim // heads, (head + 1) * dim // heads)
                seen = [other for other in range(6) if visible[item, other]]
                masses = [
                    math.exp(query[token, part] @ key[other, part] / math.sqrt(dim / heads))
                    for other in seen
                ]
                shares = [mass / sum(masses) for mass in masses]
                mixed.append(sum(s * value[o, part] for s, o in zip(shares, seen, strict=True)))
            out = layer.attention_out
            expected[item, token] += out.weight @ torch.cat(mixed) + out.bias
    for token, group in enumerate([0, 1, 1, 2, 2, 2]):  # the feed-forward network of its modality
        first, _, second = layer.feed_forward[group]
        for item in range(n):
            normal = layer_norm(
                expected[item, token], (dim,), layer.norms[1].weight, layer.norms[1].bias
            )
            hidden = gelu(first.weight @ normal + first.bias)
            expected[item, token] += second.weight @ hidden + second.bias
    torch.testing.assert_close(layer(x, visible), expected)


def test_masked_chunks_do_not_leak(encoder: MultimodalEncoder, tables: dict[str, Tensor]) -> None:
    """Whatever a hidden chunk holds, neither its own prediction nor any other output changes."""
    masked = torch.zeros(10, 6, dtype=torch.bool)
    masked[:, 1] = masked[:5, 4] = True
    chunks = chunks_of(encoder, tables)
    before = encoder(chunks, all_visible(tables), masked)
    chunks[0][1] = chunks[0][1] + 100.0
    chunks[1][1][:5] = torch.nan
    after = encoder(chunks, all_visible(tables), masked)
    torch.testing.assert_close(after.cls, before.cls, rtol=0, atol=0)
    for left, right in zip(after.tokens, before.tokens, strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=0)


def test_chunks_that_are_shown_do_matter(
    encoder: MultimodalEncoder, tables: dict[str, Tensor]
) -> None:
    masked = torch.zeros(10, 6, dtype=torch.bool)
    masked[:, 1] = True
    chunks = chunks_of(encoder, tables)
    before = encoder(chunks, all_visible(tables), masked)
    chunks[1][2] = chunks[1][2] + 1.0
    after = encoder(chunks, all_visible(tables), masked)
    assert (after.cls - before.cls).abs().amax(1).min() > 1e-4
    assert (after.tokens[0][:, 1] - before.tokens[0][:, 1]).abs().amax(1).min() > 1e-4


def test_modalities_an_item_lacks_are_not_attended_to(
    encoder: MultimodalEncoder, tables: dict[str, Tensor]
) -> None:
    visible = all_visible(tables)
    visible[:4, 1] = False
    before = encoder(chunks_of(encoder, tables), visible).cls
    tables["sound"] = tables["sound"] + 1.0
    after = encoder(chunks_of(encoder, tables), visible).cls
    torch.testing.assert_close(after[:4], before[:4], rtol=0, atol=0)
    assert (after[4:] - before[4:]).abs().amax(1).min() > 1e-4


def test_items_without_any_modality_get_the_cls_of_nothing(
    encoder: MultimodalEncoder, tables: dict[str, Tensor]
) -> None:
    visible = all_visible(tables)
    visible[:3] = False
    cls = encoder(chunks_of(encoder, tables), visible).cls
    assert cls.isfinite().all()
    torch.testing.assert_close(cls[:3], cls[:1].expand(3, -1))
    assert (cls[3:] - cls[0]).abs().amax(1).min() > 1e-4


def test_every_parameter_gets_a_gradient(
    encoder: MultimodalEncoder, tables: dict[str, Tensor]
) -> None:
    masked = torch.rand(10, 6, generator=torch.Generator().manual_seed(0)) < 0.5
    predicted = encoder.predict(encoder(chunks_of(encoder, tables), all_visible(tables), masked))
    guesses = [guess for view in predicted for route in view.values() for guess in route]
    sum(guess.square().sum() for guess in guesses).backward()
    assert [n for n, p in encoder.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ConfigError, match=r"encoder\.n_heads is 3, which does not divide"):
        EncoderOptions(dim=16, n_heads=3)
