"""Co-occurrence neighbours against loops, and what the approximate way reports."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossalign.benchmarks.powerlaw import powerlaw
from crossalign.errors import ConfigError
from crossalign.graphs import (
    Neighbors,
    approximate_neighbors,
    cooccurrence_neighbors,
    recall_at_k,
)
from crossalign.graphs.approximate import (
    Candidates,
    compressed_profiles,
    count_candidates,
    pair_numbers,
)
from crossalign.graphs.best_items import Similarity
from crossalign.graphs.cooccurrence import interaction_matrix
from crossalign.graphs.resumable import Work

SCORES = ("count", "cosine", "jaccard")


def loop_reference(pairs, n_items, k, score, min_count):
    """The rule, item by item, in exact arithmetic (cosines are compared by their squares)."""
    users = [{u for u, i in pairs.T.tolist() if i == item} for item in range(n_items)]
    ids = torch.full((n_items, k), -1)
    counts = torch.zeros(n_items, k, dtype=torch.int64)
    for i in range(n_items):
        found = []
        for j in range(n_items):
            count = len(users[i] & users[j])
            if j == i or count < min_count:
                continue
            cosine = Fraction(count * count, len(users[i]) * len(users[j]))
            jaccard = Fraction(count, len(users[i] | users[j]))
            first = {"count": count, "cosine": cosine, "jaccard": jaccard}[score]
            found.append((-first, -count, -cosine, j))
        for place, (_, count, _, j) in enumerate(sorted(found)[:k]):
            ids[i, place], counts[i, place] = j, -count
    return ids, counts


@settings(max_examples=60, deadline=None)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 8)), max_size=50),
    k=st.integers(1, 10),
    score=st.sampled_from(SCORES),
    min_count=st.integers(1, 3),
)
def test_equals_the_loop_reference(pairs, k, score, min_count):
    """Few users and items, so ties, repeats, empty rows and short lists all occur."""
    tensor = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T
    found = cooccurrence_neighbors(tensor, 8, 9, k, similarity=Similarity(score, min_count))
    ids, counts = loop_reference(tensor, 9, k, score, min_count)
    assert torch.equal(found.ids, ids)
    assert torch.equal(found.counts, counts)


def test_ties_go_to_the_higher_cosine_then_the_smaller_id():
    # Item 0 shares one user with 1, 2 and 3; item 1 has two users more, 2 and 3 one user each.
    pairs = torch.tensor([[0, 0, 0, 0, 1, 2], [0, 1, 2, 3, 1, 1]])
    found = cooccurrence_neighbors(pairs, 3, 4, 3)
    assert found.ids[0].tolist() == [2, 3, 1]
    assert found.counts[0].tolist() == [1, 1, 1]


def test_repeated_pairs_count_once():
    pairs = torch.tensor([[0, 0, 0, 1], [0, 0, 1, 1]])
    assert cooccurrence_neighbors(pairs, 2, 2, 1).counts.tolist() == [[1], [1]]


@pytest.mark.parametrize("score", SCORES)
def test_blocks_do_not_change_the_result(score, monkeypatch):
    rng = torch.Generator().manual_seed(0)
    pairs = torch.nonzero(torch.rand(60, 40, generator=rng) < 0.2).T
    whole = cooccurrence_neighbors(pairs, 60, 40, 6, similarity=Similarity(score))
    monkeypatch.setattr("crossalign.graphs.cooccurrence.BYTES_PER_ENTRY", 2**16)  # 16 a block
    blocked = cooccurrence_neighbors(
        pairs, 60, 40, 6, similarity=Similarity(score), how=Work(memory_mib=1)
    )
    assert torch.equal(whole.ids, blocked.ids)
    assert torch.equal(whole.ids, loop_reference(pairs, 40, 6, score, 1)[0])


@pytest.mark.parametrize(("option", "value"), [("k", 0), ("min_count", 0), ("memory_mib", 0)])
def test_options_out_of_range_are_refused(option, value):
    pairs, options = torch.tensor([[0], [0]]), {"k": 3, "min_count": 1, "memory_mib": 9}
    k, min_count, memory = (options | {option: value}).values()
    similarity, how = Similarity(min_count=min_count), Work(memory)
    with pytest.raises(ConfigError, match=f"{option} .* at least 1, got 0"):
        cooccurrence_neighbors(pairs, 1, 1, k, similarity=similarity, how=how)
    with pytest.raises(ConfigError, match="did you mean 'cosine'"):
        cooccurrence_neighbors(pairs, 1, 1, 3, similarity=Similarity("cosin"))


@pytest.mark.parametrize("score", SCORES)
def test_approximate_is_exact_when_every_item_is_a_candidate(score):
    rng = torch.Generator().manual_seed(1)
    pairs = torch.nonzero(torch.rand(50, 30, generator=rng) < 0.15).T
    exact = cooccurrence_neighbors(pairs, 50, 30, 5, similarity=Similarity(score, 2))
    approx = approximate_neighbors(
        pairs, 50, 30, 5, similarity=Similarity(score, 2), among=Candidates(29, dim=8)
    )
    assert torch.equal(approx.ids, exact.ids)
    assert torch.equal(approx.counts, exact.counts)


def test_approximate_finds_most_neighbours_and_is_reproducible():
    """Items in groups bought by the same people; few candidates suffice."""
    rng = torch.Generator().manual_seed(2)
    taste = torch.arange(400) % 10
    likely = torch.where(taste[:, None] == torch.arange(200)[None] % 10, 0.3, 0.005)
    pairs = torch.nonzero(torch.rand(400, 200, generator=rng) < likely).T
    exact = cooccurrence_neighbors(pairs, 400, 200, 10)
    approx = approximate_neighbors(pairs, 400, 200, 10, among=Candidates(40, dim=16))
    again = approximate_neighbors(pairs, 400, 200, 10, among=Candidates(40, dim=16))
    assert recall_at_k(approx, exact) > 0.9
    assert torch.equal(approx.ids, again.ids)


def test_recall_counts_only_exact_neighbours():
    exact = Neighbors(torch.tensor([[1, 2], [0, -1]]), torch.tensor([[2, 1], [2, 0]]))
    approx = Neighbors(torch.tensor([[2, 3], [-1, -1]]), torch.tensor([[1, 1], [0, 0]]))
    assert recall_at_k(approx, exact) == pytest.approx(1 / 3)
    assert recall_at_k(exact, exact) == 1.0


def test_ties_are_hits_of_the_recall():
    """Which of several equal items is last in a list says nothing of the search."""
    exact = _scored([[1, 2], [0, -1]], [[0.9, 0.5], [0.9, 0.0]])
    tied = _scored([[1, 7], [8, -1]], [[0.9, 0.5], [0.9, 0.0]])
    lower = _scored([[1, 7], [8, 9]], [[0.9, 0.4], [0.3, 0.2]])
    assert recall_at_k(tied, exact) == 1.0
    assert recall_at_k(lower, exact) == pytest.approx(1 / 3)
    assert recall_at_k(_scored([[-1, -1]] * 2, [[0.0, 0.0]] * 2), exact) == 0.0


def _scored(ids, scores):
    ids = torch.tensor(ids)
    return Neighbors(ids, (ids >= 0).long(), scores=torch.tensor(scores))


def test_rows_gives_the_neighbours_of_the_chosen_items_only() -> None:
    rng = torch.Generator().manual_seed(0)
    pairs = torch.stack(
        [torch.randint(30, (200,), generator=rng), torch.randint(20, (200,), generator=rng)]
    )
    everything = cooccurrence_neighbors(pairs, 30, 20, 4)
    rows = torch.tensor([7, 3, 19])
    some = cooccurrence_neighbors(pairs, 30, 20, 4, rows=rows)
    assert torch.equal(some.ids, everything.ids[rows])
    assert torch.equal(some.counts, everything.counts[rows])


@pytest.mark.parametrize("score", SCORES)
def test_threads_and_parts_do_not_change_the_result(score, monkeypatch):
    """A skewed graph with many ties, in some hundred parts on three threads."""
    data = powerlaw(400, 90, 2000, n_communities=3)
    ids, counts = loop_reference(data.pairs, 90, 7, score, 1)
    monkeypatch.setattr("crossalign.graphs.resumable.PART_WORK", 300)
    found = cooccurrence_neighbors(
        data.pairs, 400, 90, 7, similarity=Similarity(score), how=Work(workers=3)
    )
    assert torch.equal(found.ids, ids)
    assert torch.equal(found.counts, counts)


def test_candidates_are_counted_like_any_pair():
    """Whichever of the two items has more users, and however few are looked up at a time."""
    data = powerlaw(300, 40, 1500, n_communities=2)
    matrix = interaction_matrix(data.pairs, 300, 40)
    dense = torch.from_numpy((matrix @ matrix.T).toarray())
    items = np.array([3, 17, 5])
    candidates = np.array([[1, 2, -1], [3, 17, 39], [-1, -1, -1]])
    for chunk in (1, 7, 10_000):
        found = count_candidates(matrix, pair_numbers(matrix), items, candidates, chunk).toarray()
        expected = np.zeros_like(found)
        for row, item in enumerate(items):
            for other in candidates[row][candidates[row] >= 0]:
                expected[row, other] = dense[item, other]
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("width", [40, 64])
def test_full_width_profiles_give_the_damped_cosines(width):
    """As many columns as items: nothing is lost, so products equal those of whole profiles."""
    data = powerlaw(300, 40, 1500, n_communities=2)
    matrix = interaction_matrix(data.pairs, 300, 40)
    rows = matrix.toarray() / np.maximum(matrix.toarray().sum(0), 1) ** 0.25
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    profiles = compressed_profiles(matrix, width, seed=0)
    np.testing.assert_allclose(profiles @ profiles.T, rows @ rows.T, atol=2e-3)
