"""Attention of entries equals torch's multi-head attention of width one, in any blocks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from crossalign.models import scalar_attention
from crossalign.models.scalar_attention import ContentAttention, ScalarAttention


@pytest.mark.parametrize("rows_of_a_block", [1, 100])
def test_it_equals_multihead_attention(rows_of_a_block: int, monkeypatch) -> None:
    monkeypatch.setattr(scalar_attention, "CELLS", rows_of_a_block * 5 * 5)
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(1, 1, batch_first=True).double()
    nn.init.normal_(theirs.in_proj_bias)
    ours = ScalarAttention(0.0).double()
    ours.load_state_dict(theirs.state_dict())
    query, x = torch.randn(2, 7, 5, dtype=torch.float64)
    expected, _ = theirs(*(rows.unsqueeze(2) for rows in (query, x, x)))
    found = ours(query, x)
    torch.testing.assert_close(found, expected.squeeze(2))
    weights = torch.randn_like(found)
    for attention, out in ((ours, found), (theirs, expected.squeeze(2))):
        (out * weights).sum().backward()
        assert attention.in_proj_weight.grad is not None
    torch.testing.assert_close(ours.in_proj_weight.grad, theirs.in_proj_weight.grad)


def test_all_weights_can_be_dropped() -> None:
    attention = ScalarAttention(1.0)
    rows = torch.randn(3, 4)
    assert torch.equal(attention(rows, rows), attention.out_proj.bias.expand(3, 4))
    assert not torch.equal(attention.eval()(rows, rows), attention.out_proj.bias.expand(3, 4))


@pytest.mark.parametrize("kinds", ["self+cross", "self", "cross", "off"])
def test_absent_content_stays_zero(kinds: str) -> None:
    torch.manual_seed(0)
    attention = ContentAttention(("image", "text", "audio"), 4, kinds, 0.0, 0.0)
    contents = [torch.randn(5, 4) for _ in range(3)]
    contents[1][2] = 0
    found = attention(contents)
    zero = [[bool((row == 0).all()) for row in rows] for rows in found]
    assert zero == [[False] * 5, [False, False, True, False, False], [False] * 5]
