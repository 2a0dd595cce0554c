"""Metric definitions: MMRec's golden values, a loop-written reference, and ranx."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossalign.errors import ConfigError
from crossalign.evaluation import METRIC_NAMES, Metrics, parse_metric, user_metrics


def test_golden_per_user_values(golden):
    """Every user of the golden file: no hit, all hit, first and last place, random ones."""
    topk, start, relevant = golden["topk"], golden["rel_indptr"], golden["rel_indices"]
    ranks = []
    for user, listed in enumerate(topk):
        place = {item: rank for rank, item in enumerate(listed)}
        ranks += [place.get(item, 999) for item in relevant[start[user] : start[user + 1]]]
    counts = torch.from_numpy(golden["rel_count"])
    ours = user_metrics(torch.tensor(ranks), counts, golden["ks"].tolist())
    for name in ("recall", "ndcg", "precision", "map"):
        np.testing.assert_allclose(ours[name].numpy(), golden[f"user/{name}"], rtol=1e-14)
        np.testing.assert_allclose(ours[name].mean(0).numpy(), golden[f"mean/{name}"], rtol=1e-14)


users_with_ranks = st.lists(
    st.sets(st.integers(0, 60), min_size=1, max_size=30).map(sorted), min_size=1, max_size=8
)


@settings(max_examples=60, deadline=None)
@given(users=users_with_ranks, data=st.data())
def test_loop_reference(reference, users, data):
    ks = data.draw(st.lists(st.integers(1, 70), min_size=1, max_size=4))
    ranks = [rank for user in users for rank in data.draw(st.permutations(user))]
    counts = torch.tensor([len(user) for user in users])
    ours = user_metrics(torch.tensor(ranks), counts, ks)
    assert set(ours) == set(METRIC_NAMES)
    for row, user in enumerate(users):
        for column, k in enumerate(ks):
            for name, value in reference(list(range(61)), set(user), k).items():
                assert ours[name][row, column] == pytest.approx(value, rel=1e-12), (name, user, k)


def test_ranx(reference, tmp_path):
    """A published library agrees; its MAP divides by |rel|, which is ours where |rel| <= k.

    It runs in a process of its own, because it compiles for half a minute unless told not to.
    """
    pytest.importorskip("ranx")
    rng = torch.Generator().manual_seed(0)
    ks, n_users, n_items = (1, 3, 10), 12, 30
    ranks, counts, qrels, run = [], [], {}, {}
    for user in range(n_users):
        targets = torch.randperm(n_items, generator=rng)[: 1 + user].tolist()
        ranks += targets
        counts.append(len(targets))
        qrels[f"u{user:02d}"] = {f"i{rank}": 1 for rank in targets}
        run[f"u{user:02d}"] = {f"i{rank}": float(n_items - rank) for rank in range(n_items)}
    theirs_of = {"recall": "recall", "ndcg": "ndcg", "precision": "precision", "map": "map"}
    theirs_of |= {"hit": "hit_rate", "mrr": "mrr"}
    names = [f"{theirs}@{k}" for theirs in theirs_of.values() for k in ks]
    script = (
        "import json, sys, ranx; qrels, run, names = json.load(sys.stdin);"
        "q, r = ranx.Qrels(qrels), ranx.Run(run);"
        "scores = ranx.evaluate(q, r, names, return_mean=False);"
        "print(json.dumps({name: list(map(float, values)) for name, values in scores.items()}))"
    )
    out = subprocess.run(
        [sys.executable, "-c", script], input=json.dumps([qrels, run, names]),
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"}, cwd=tmp_path,
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    theirs = json.loads(out.stdout.splitlines()[-1])
    ours = user_metrics(torch.tensor(ranks), torch.tensor(counts), ks)
    for name, their_name in theirs_of.items():
        for column, k in enumerate(ks):
            same = torch.tensor(counts) <= k if name == "map" else torch.ones(n_users, dtype=bool)
            expected = torch.tensor(theirs[f"{their_name}@{k}"], dtype=torch.float64)
            torch.testing.assert_close(ours[name][same, column], expected[same], rtol=1e-12, atol=0)


def test_metrics_read_like_a_mapping():
    metrics = Metrics({"recall@20": 0.25, "ndcg@20": 0.125}, n_users=3, dropped_rows=2)
    assert metrics["recall@20"] == 0.25
    assert list(metrics) == ["recall@20", "ndcg@20"]
    assert len(metrics) == 2
    expected = {"recall@20": 0.25, "ndcg@20": 0.125, "n_users": 3, "dropped_rows": 2}
    assert metrics.to_dict() == expected


def test_metric_names():
    assert parse_metric("ndcg@10") == ("ndcg", 10)
    for bad in ("recall", "recall@", "recall@x", "recall@0", "recall@-1", "@20", "f1@3", ""):
        with pytest.raises(ConfigError) as error:
            parse_metric(bad)
        assert "\n" not in str(error.value)
