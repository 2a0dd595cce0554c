"""The inverse cosine transform undoes the orthonormal DCT-II."""

from __future__ import annotations

import math

import pytest
import torch

from crossalign.tensors.cosine_transform import inverse_cosine_transform


def transform(d: int) -> torch.Tensor:
    """The matrix C of the transform, `(d, d)`, by its definition."""
    n = torch.arange(d, dtype=torch.float64)
    matrix = torch.cos(math.pi * (2 * n + 1) * n.unsqueeze(1) / (2 * d)) * math.sqrt(2 / d)
    matrix[0] /= math.sqrt(2)
    return matrix


@pytest.mark.parametrize("d", [1, 2, 3, 10, 17])
def test_it_is_the_transposed_transform_with_gradients(d: int) -> None:
    torch.manual_seed(0)
    rows = torch.randn(4, d, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(inverse_cosine_transform(rows), rows @ transform(d))
    assert torch.autograd.gradcheck(inverse_cosine_transform, (rows,))
