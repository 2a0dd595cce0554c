"""Sparse products with learnt entries against dense ones, and what learnt graphs are made of."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from crossalign.graphs import build_graph, sparse_pattern
from crossalign.graphs.sparse_pattern import SparsePattern, nearest_rows, normalised_by_row_sums

# Repeated entries; rows 1 and 2 and columns 2, 3 and 5 are empty.
ROWS, COLS = torch.tensor([3, 0, 0, 3, 0, 4]), torch.tensor([1, 1, 4, 1, 0, 4])


@pytest.fixture
def pattern() -> SparsePattern:
    return SparsePattern(ROWS, COLS, 5, 6)


def random(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64).requires_grad_()


def test_products_and_gradients_equal_dense_ones(pattern: SparsePattern) -> None:
    values, left, right = random(6), random(5, 3), random(6, 3)
    dense = torch.zeros(5, 6).double().index_put((ROWS, COLS), values, accumulate=True)
    torch.testing.assert_close(pattern(values, right), dense @ right)
    torch.testing.assert_close(pattern.transposed(values, left), dense.T @ left)
    torch.testing.assert_close(pattern.dot(left, right), (left @ right.T)[ROWS, COLS])
    assert torch.autograd.gradcheck(pattern, (values, right))
    assert torch.autograd.gradcheck(pattern.transposed, (values, left))
    assert torch.autograd.gradcheck(pattern.dot, (left, right))


def test_blocks_of_entries_change_nothing(
    pattern: SparsePattern, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, right = random(5, 3), random(6, 3)
    whole = pattern.dot(left, right)
    monkeypatch.setattr(sparse_pattern, "BLOCK", 7)  # two entries
    torch.testing.assert_close(pattern.dot(left, right), whole)


def test_only_the_wanted_gradients_are_computed(
    pattern: SparsePattern, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An inner product per entry is the dear one, and constant values do not need it."""
    monkeypatch.setattr(pattern, "plain_dot", None)
    x = random(6, 3)
    pattern(random(6).detach(), x).sum().backward()
    assert x.grad is not None


def test_softmax_is_among_entries_of_a_row_or_column_however_large(pattern: SparsePattern) -> None:
    logits = random(6)
    for softmax, group in ((pattern.row_softmax, ROWS), (pattern.col_softmax, COLS)):
        for node in group.unique():
            mine = group == node
            torch.testing.assert_close(softmax(logits)[mine], logits[mine].softmax(0))
        assert torch.autograd.gradcheck(softmax, (logits,))
        torch.testing.assert_close(softmax(logits + 1e4), softmax(logits))


def test_a_pattern_of_a_graph_has_its_edges_in_order(small_dataset) -> None:
    pattern = SparsePattern.from_graph(build_graph(small_dataset))
    assert (pattern.n_rows, pattern.n_cols) == (30, 20)
    assert torch.equal(torch.stack([pattern.rows, pattern.cols]), small_dataset.train)


def test_wrong_shapes_are_refused(pattern: SparsePattern) -> None:
    """The kernels would read foreign memory."""
    with pytest.raises(ValueError, match=r"expected a \(6, dim\) tensor"):
        pattern(random(6), random(5, 3))
    with pytest.raises(ValueError, match="outside 0"):
        SparsePattern(ROWS, COLS, 5, 4)


def test_rows_whose_sum_is_not_positive_count_as_zero() -> None:
    rows, cols = torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 1, 2])
    values = torch.tensor([1.0, 3.0, -2.0, 0.0], requires_grad=True)
    found = normalised_by_row_sums(values, rows, cols, 3)
    torch.testing.assert_close(found, torch.tensor([0.25, 0.0, 0.0, 0.0]))
    found.sum().backward()
    assert torch.isfinite(values.grad).all()


def test_nearest_rows_are_searched_among_the_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse_pattern, "BLOCK", 30)  # blocks of 4 rows
    unit = normalize(torch.randn(9, 3, generator=torch.Generator().manual_seed(0)))
    candidates = torch.tensor([0, 2, 3, 5, 6, 7, 8])
    rows, cols = nearest_rows(unit, 3, candidates)
    for row in range(9):
        expected = sorted(candidates.tolist(), key=lambda c: -float(unit[row] @ unit[c]))[:3]
        assert sorted(cols[rows == row].tolist()) == sorted(expected if row in candidates else [])
    assert len(nearest_rows(unit, 10, candidates)[0]) == 7 * 7
