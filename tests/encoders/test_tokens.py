"""Chunks cover every column once, and standardising keeps the geometry of a modality."""

from __future__ import annotations

import pytest
import torch

from crossalign.encoders.tokens import ModalityTokens


@pytest.mark.parametrize(
    ("width", "n_tokens", "expected"), [(11, 3, [4, 4, 3]), (6, 3, [2, 2, 2]), (2, 4, [1, 1])]
)
def test_chunks_cover_all_columns_in_order(width: int, n_tokens: int, expected: list[int]) -> None:
    view = ModalityTokens(width, n_tokens, 8)
    rows = torch.randn(5, width)
    chunks = view.chunks(rows)
    assert [chunk.shape[1] for chunk in chunks] == expected
    torch.testing.assert_close(torch.cat(chunks, 1), rows)
    assert view(chunks, torch.zeros(5, len(chunks), dtype=torch.bool)).shape == (5, len(chunks), 8)


def test_standardised_features_are_centred_and_of_mean_square_one() -> None:
    rows = 7.0 + 3.0 * torch.randn(200, 5) * torch.tensor([1.0, 2.0, 0.5, 1.0, 0.0])
    view = ModalityTokens(5, 2, 8)
    view.calibrate(rows)
    standard = torch.cat(view.chunks(rows), 1)
    torch.testing.assert_close(standard.mean(0), torch.zeros(5), atol=1e-5, rtol=0)
    assert standard.square().mean().item() == pytest.approx(1.0, abs=1e-5)
    distances = torch.pdist(rows) / torch.pdist(standard)  # one factor for all pairs of items
    assert distances.std() < 1e-4 * distances.mean()


@pytest.mark.parametrize("rows", [torch.full((7, 4), 0.1), torch.empty(0, 4)])
def test_constant_or_absent_features_stay_finite(rows: torch.Tensor) -> None:
    view = ModalityTokens(4, 2, 8)
    view.calibrate(rows)
    assert all(chunk.abs().max() < 10 for chunk in view.chunks(torch.randn(3, 4)))
