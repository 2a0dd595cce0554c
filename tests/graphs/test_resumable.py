"""Computation in parts: nothing is computed twice, and nothing of other data is used."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

from crossalign.datasets import planted
from crossalign.errors import RunError
from crossalign.graphs import (
    NeighborOptions,
    Similarity,
    Work,
    approximate_neighbors,
    cooccurrence_neighbors,
)
from crossalign.graphs.neighbor_search import make_neighbors, write_neighbors
from crossalign.graphs.resumable import compute_in_parts, content_key, split_rows

K = 3


def run(parts, compute, n=20, workers=2, key="key"):
    """20 rows of one unit of work each; with the small parts below, 6 parts."""
    work = np.ones(n, dtype=np.int64)
    how = Work(workers=workers, parts=parts)
    return compute_in_parts(compute, work, K, key=key, title="", how=how)


def lists(start, stop):
    rows = np.arange(start, stop)[:, None] + np.arange(K)
    return rows, 10 * rows


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr("crossalign.graphs.resumable.PART_WORK", 4)


@pytest.mark.parametrize("limit", [1, 5, 1000])
def test_ranges_cover_all_rows_in_order(limit):
    work = np.random.default_rng(0).integers(0, 9, 50)
    ranges = split_rows(work, limit)
    covered = [row for start, stop in ranges for row in range(start, stop)]
    assert covered == list(range(50))
    heavy = [work[start:stop].sum() for start, stop in ranges if stop - start > 1]
    assert all(total <= limit + work.max() for total in heavy)
    assert split_rows(np.zeros(0, dtype=np.int64), limit) == []


def test_results_land_in_their_rows_whoever_computes_them(tmp_path):
    ids, counts = run(tmp_path, lists)
    expected = lists(0, 20)
    np.testing.assert_array_equal(ids, expected[0])
    np.testing.assert_array_equal(counts, expected[1])


def test_finished_parts_are_never_computed_again(tmp_path):
    seen = []

    def breaks_off(start, stop):
        if start >= 8:
            raise KeyboardInterrupt
        seen.append(start)
        return lists(start, stop)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, breaks_off, workers=1)

    def goes_on(start, stop):
        assert start not in seen
        return lists(start, stop)

    ids, _ = run(tmp_path, goes_on)
    np.testing.assert_array_equal(ids, lists(0, 20)[0])
    assert seen
    assert not list(tmp_path.rglob("*.tmp*"))


KILLED = """
import os, signal, sys
import numpy as np
from crossalign.graphs import resumable

resumable.PART_WORK = 4

def compute(start, stop):
    if start >= 8:
        os.kill(os.getpid(), signal.SIGKILL)
    rows = np.arange(start, stop)[:, None] + np.arange(3)
    return rows, 10 * rows

resumable.compute_in_parts(
    compute, np.ones(20, dtype=np.int64), 3, key="key", title="",
    how=resumable.Work(workers=1, parts=sys.argv[1]),
)
"""


def test_a_killed_process_leaves_whole_parts_to_go_on_from(tmp_path):
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    computed = []

    def goes_on(start, stop):
        computed.append(start)
        return lists(start, stop)

    ids, counts = run(tmp_path, goes_on)
    np.testing.assert_array_equal(ids, lists(0, 20)[0])
    np.testing.assert_array_equal(counts, lists(0, 20)[1])
    assert min(computed) >= 7  # rows 0 .. 6, two parts, were finished


def test_parts_of_another_computation_are_not_used(tmp_path):
    run(tmp_path, lambda start, stop: (np.zeros((stop - start, K)),) * 2, key="old")
    ids, _ = run(tmp_path, lists, key="new")
    np.testing.assert_array_equal(ids, lists(0, 20)[0])


def test_a_damaged_part_is_named(tmp_path):
    run(tmp_path, lists)
    part = sorted((tmp_path / "key").iterdir())[0]
    whole = part.read_bytes()
    for damaged in (b"", whole[:-5], whole.replace(b"'shape': (", b"'shape': ['("), b"PK\x03\x04"):
        part.write_bytes(damaged)
        with pytest.raises(RunError, match=f"{part.name}.*delete it"):
            run(tmp_path, lists)
    np.save(part, np.zeros((2, 1, K)))
    with pytest.raises(RunError, match="of shape"):
        run(tmp_path, lists)


def test_parts_run_at_the_same_time():
    together = threading.Barrier(2, timeout=30)  # breaks unless two threads meet in it

    def meet(start, stop):
        together.wait()
        return lists(start, stop)

    run(None, meet)


def test_the_key_tells_arrays_types_and_options_apart():
    a = np.arange(4)
    keys = {
        content_key(a, 1),
        content_key(a, 2),
        content_key(a, "1"),
        content_key(a.astype(np.int32), 1),
        content_key(a.reshape(2, 2), 1),
        content_key(a[::-1], 1),
    }
    assert len(keys) == 6
    assert content_key(a.copy(), 1) in keys


@pytest.mark.parametrize("find", [cooccurrence_neighbors, approximate_neighbors])
def test_neighbours_from_finished_parts_equal_those_in_one_go(find, tmp_path, monkeypatch):
    rng = torch.Generator().manual_seed(0)
    pairs = torch.nonzero(torch.rand(50, 30, generator=rng) < 0.2).T
    whole = find(pairs, 50, 30, 4)
    first = find(pairs, 50, 30, 4, how=Work(parts=tmp_path, workers=2))
    monkeypatch.delattr("crossalign.graphs.best_items.Ranking.top_k")
    again = find(pairs, 50, 30, 4, how=Work(parts=tmp_path))
    for found in (first, again):
        assert torch.equal(found.ids, whole.ids)
        assert torch.equal(found.counts, whole.counts)
    with pytest.raises(AttributeError):  # other data: has to be computed
        find(pairs[:, 1:], 50, 30, 4, how=Work(parts=tmp_path))
    with pytest.raises(AttributeError):
        find(pairs, 50, 30, 4, similarity=Similarity(min_count=2), how=Work(parts=tmp_path))


@pytest.mark.parametrize("name", ["near", "near.npz"])
@pytest.mark.parametrize("search", ["exact", "faiss"])
def test_a_written_index_leaves_no_parts_and_is_read_for_training(tmp_path, name, search):
    options = {"k": 4, "search": search, "workers": 2}
    config = NeighborOptions(**options)
    data = planted(200, 60)
    written = write_neighbors(tmp_path / name, config, data)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert ("recall" in written.metadata) == (search == "faiss")
    reading = NeighborOptions(k=4, file=str(tmp_path / name))
    assert torch.equal(make_neighbors(reading, data).ids, written.ids)
