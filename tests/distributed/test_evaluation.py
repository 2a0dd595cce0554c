"""Evaluation by layers and blocks: the figures of one machine for the same weights."""

import pytest
import torch
from one_machine import one_machine, same_weights, settings

from crossalign.distributed import evaluation
from crossalign.distributed.cluster import entered
from crossalign.distributed.evaluation import RemoteEvaluator, represent_all
from crossalign.distributed.folder import tensor
from crossalign.distributed.modules import make_modules
from crossalign.distributed.similar import item_hops
from crossalign.evaluation import evaluate


@pytest.mark.parametrize("backbone", ["lightgcn", "bpr", "vbpr", "freedom"])
def test_metrics_are_those_of_one_machine(backbone, world, neighbors, one_part, monkeypatch):
    """To the last digit, with items streamed in blocks and nodes taken a few at a time."""
    monkeypatch.setattr(evaluation, "ITEMS", 7)
    monkeypatch.setattr(evaluation, "SCORES", 4 * 7 * 9)
    monkeypatch.setattr("crossalign.distributed.tables.BLOCK", 16)
    config = settings(backbone, "none")
    whole, _ = one_machine(config, world, neighbors)
    whole.eval()
    with torch.no_grad():
        expected = whole()
    metrics = evaluate(expected, world, "test", (1, 5, 20))
    with entered(one_part) as cluster:
        modules = make_modules(config, cluster)
        same_weights(modules, whole, None)
        modules.dense.eval()
        found = represent_all(modules, cluster, item_hops(modules.backbone, cluster))
        for kind, table in zip(("user", "item"), expected, strict=True):
            ids = tensor(one_part, f"{kind}_ids")
            rows = getattr(found, kind)[torch.arange(len(table))]
            assert torch.allclose(rows, table[ids], rtol=1e-5, atol=1e-7)
        assert RemoteEvaluator(cluster, "test", (1, 5, 20))(found) == metrics
