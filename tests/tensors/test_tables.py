"""Tables and layers begin within Xavier's bounds, and draw as `nn.init` does."""

from __future__ import annotations

import math

import torch
from torch import nn

from crossalign.tensors.tables import xavier, xavier_table


def test_tables_are_trainable_and_follow_the_chosen_distribution() -> None:
    torch.manual_seed(0)
    uniform, normal = xavier_table(300, 40), xavier_table(300, 40, normal=True)
    assert uniform.requires_grad
    assert uniform.shape == normal.shape == (300, 40)
    bound, deviation = math.sqrt(6 / 340), math.sqrt(2 / 340)
    assert 0.99 * bound < uniform.abs().max() <= bound
    assert normal.abs().max() > bound
    torch.testing.assert_close(normal.std().item(), deviation, rtol=0.03, atol=0)


def test_a_layer_keeps_its_class_and_loses_its_bias() -> None:
    layer = nn.Linear(30, 20)
    assert xavier(layer) is layer
    assert not layer.bias.any()
    assert layer.weight.abs().max() <= math.sqrt(6 / 50)
    assert xavier(nn.Linear(30, 20, bias=False)).bias is None
