"""What LATTICE does beyond the golden vectors: its regulariser and when it builds its graph."""

from __future__ import annotations

import pytest
import torch

from crossalign.datasets import Dataset
from crossalign.errors import ConfigError
from crossalign.graphs import GraphOptions, build_graph
from crossalign.models import Batch
from crossalign.models.lattice import LATTICE


@pytest.fixture
def dataset() -> Dataset:
    torch.manual_seed(0)
    train = torch.nonzero(torch.rand(12, 15) < 0.3).T.contiguous()
    held_out = torch.tensor([[0], [5]])
    features = {"image": torch.randn(15, 6), "sound": torch.randn(15, 4)}
    return Dataset("random", 12, 15, train, held_out, held_out, features)


def make(dataset: Dataset, **options: object) -> LATTICE:
    graph = build_graph(dataset, GraphOptions(knn_k=3), relations=LATTICE.relations)
    return LATTICE(graph, dataset.features, dim=8, n_neighbors=4, **options)


def test_the_regulariser_is_per_batch_row_by_default(dataset: Dataset) -> None:
    users, items = dataset.train[:, :10]
    backbone = make(dataset, reg_weight=0.5)
    user, item = backbone()
    rows = torch.cat([user[users], item[items], item[14 - items]])
    term = backbone.loss(Batch(users, items, 14 - items), (user, item))["reg"]
    torch.testing.assert_close(term, 0.25 * rows.square().sum() / 10)


def test_evaluation_rebuilds_the_item_graph_and_training_keeps_it(dataset: Dataset) -> None:
    backbone = make(dataset)
    backbone()
    kept = backbone.item_values
    with torch.no_grad():
        for parameter in backbone.projectors.parameters():
            parameter.normal_()
        before = backbone().item
        evaluated = backbone.eval()().item
        assert not torch.equal(before, evaluated)
        assert torch.equal(backbone.train()().item, before)
    assert backbone.item_values is kept
    assert not kept.requires_grad
    backbone.begin_epoch(torch.Generator())
    assert torch.equal(backbone().item, evaluated)


def test_a_graph_without_the_relation_is_refused(dataset: Dataset) -> None:
    with pytest.raises(ConfigError, match="similar_image"):
        LATTICE(build_graph(dataset), dataset.features)


def test_a_first_look_without_gradients_does_not_use_up_the_first_batch(dataset: Dataset) -> None:
    backbone = make(dataset)
    with torch.no_grad():
        backbone()
    backbone().item.sum().backward()
    assert backbone.modal_weight.grad is not None
