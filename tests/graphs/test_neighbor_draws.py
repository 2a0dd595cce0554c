"""Drawn neighbours: distinct, uniform, all where there are few; nodes are numbered each once."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from crossalign.graphs.neighbor_draws import InEdges, Places, distinct_below

INTO = InEdges(np.array([0, 2, 2, 7]), np.array([4, 1, 0, 1, 2, 3, 4]), np.arange(7)[::-1])
"""Node 0 has two sources, node 1 none, node 2 five."""


@pytest.mark.parametrize(("n", "k"), [(5, 2), (4, 3), (3, 3), (6, 1)])
def test_all_sets_are_drawn_alike(n: int, k: int) -> None:
    drawn = distinct_below(np.full(20_000, n), k, np.random.default_rng(0))
    sets = [tuple(sorted(row)) for row in drawn.tolist()]
    every = list(combinations(range(n), k))
    assert set(sets) == set(every)
    share = np.array([sets.count(one) for one in every]) / len(sets)
    expected = 1 / len(every)
    assert np.abs(share - expected).max() < 5 * np.sqrt(expected / len(sets))


def test_nodes_with_few_edges_give_all_and_others_as_many_as_asked() -> None:
    indptr, places = INTO.draw(np.array([2, 1, 0]), 3, np.random.default_rng(0))
    assert indptr.tolist() == [0, 3, 3, 5]
    assert len(set(places[:3].tolist())) == 3
    assert set(places[:3].tolist()) <= {2, 3, 4, 5, 6}
    assert places[3:].tolist() == [0, 1]


def test_all_edges_on_request() -> None:
    indptr, places = INTO.draw(np.array([2, 0]), -1, np.random.default_rng(0))
    assert indptr.tolist() == [0, 5, 7]
    assert places.tolist() == [2, 3, 4, 5, 6, 0, 1]


def test_kept_edges_alone_are_left() -> None:
    kept = INTO.kept(np.array([6, 0, 3]))  # places 0, 6 and 3
    assert kept.indptr.tolist() == [0, 1, 1, 3]
    assert kept.sources.tolist() == [4, 1, 4]
    assert kept.ids.tolist() == [6, 3, 0]


def test_nodes_are_numbered_once_the_given_ones_first_sample_after_sample() -> None:
    places, rng = Places(50), np.random.default_rng(0)
    for _ in range(5):
        first, others = rng.permutation(50)[:7], rng.integers(50, size=200)
        nodes, positions = places.number(first, others)
        assert nodes[:7].tolist() == first.tolist()
        assert len(set(nodes.tolist())) == len(nodes)
        assert set(nodes.tolist()) == set(first.tolist()) | set(others.tolist())
        assert np.array_equal(nodes[positions], others)


def test_nodes_are_found_among_others_after_any_sample() -> None:
    places, rng = Places(50), np.random.default_rng(0)
    places.number(rng.permutation(50), rng.integers(50, size=20))
    among = np.array([30, 4, 17])
    assert places.find(np.array([4, 5, 30, 30, 0]), among).tolist() == [1, -1, 0, 0, -1]
    assert places.find(np.array([4]), among[:0]).tolist() == [-1]


@pytest.mark.parametrize("k", [1, 3, -1])
def test_edges_are_found_where_they_were_drawn_and_nowhere_else(k: int) -> None:
    rng = np.random.default_rng(1)
    ends = np.sort(rng.integers(20, size=150))
    indptr = np.searchsorted(ends, np.arange(21))
    into = InEdges(indptr, rng.integers(30, size=150), rng.permutation(150))
    nodes = rng.permutation(20)[:12]
    begins, places = into.draw(nodes, k, rng)
    edges = rng.permutation(150)[:40]
    position = {int(node): n for n, node in enumerate(nodes)}
    end_of = dict(zip(into.ids.tolist(), ends.tolist(), strict=True))
    rows = np.array([position.get(end_of[int(edge)], -1) for edge in edges])
    found = into.found(edges, rows, begins, places)
    assert 0 < len(found) == len(set(found.tolist()))
    assert set(found.tolist()) == set(np.flatnonzero(np.isin(into.ids[places], edges)).tolist())
