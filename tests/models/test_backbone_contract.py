"""What every backbone must do, whatever it is: one suite over the registry.

A new backbone is covered as soon as it is registered.
"""

from __future__ import annotations

import pytest
import torch

from crossalign.config import component_options
from crossalign.datasets import Dataset
from crossalign.errors import ConfigError
from crossalign.evaluation import evaluate
from crossalign.graphs import GraphOptions, build_graph
from crossalign.models import BACKBONES, Backbone, Batch
from crossalign.training import TrainingOptions, fit, load_weights, seed_everything

N_USERS, N_ITEMS = 24, 20
NAMES = BACKBONES.names()


@pytest.fixture(scope="module")
def checkerboard() -> Dataset:
    """Users like the items of their own parity; each lacks one for validation and one for test."""
    train, valid, test = [], [], []
    for user in range(N_USERS):
        liked = [item for item in range(N_ITEMS) if item % 2 == user % 2]
        first, second = user % len(liked), (user + 1) % len(liked)
        valid.append((user, liked[first]))
        test.append((user, liked[second]))
        train += [(user, i) for place, i in enumerate(liked) if place not in (first, second)]
    parity = torch.arange(N_ITEMS) % 2
    noise = torch.randn(N_ITEMS, 6, generator=torch.Generator().manual_seed(0))
    features = {"shape": noise + 2 * parity[:, None], "sound": noise[:, :4] - parity[:, None]}
    splits = [torch.tensor(rows).T.contiguous() for rows in (train, valid, test)]
    return Dataset("checkerboard", N_USERS, N_ITEMS, *splits, features=features)


def make(name: str, data: Dataset, **options: object) -> Backbone:
    entry = BACKBONES[name]
    graph = build_graph(data, GraphOptions(knn_k=5), relations=entry.cls.relations)
    values = component_options("backbone", entry, {"dim": 16, **options})
    seed_everything(0)
    return entry.cls(graph, data.features, **values)


def batch_of(data: Dataset, size: int = 30) -> Batch:
    users, items = data.train[:, :size]
    return Batch(users, items, (items + 1) % N_ITEMS)


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_a_data_set_with_a_known_answer(name: str, checkerboard: Dataset) -> None:
    backbone = make(name, checkerboard, reg_weight=1e-4, dim=4)
    options = TrainingOptions(epochs=60, batch_size=64, learning_rate=0.02, monitor="ndcg@2")
    fit(backbone, checkerboard, options, progress=False)
    with torch.no_grad():
        metrics = evaluate(backbone(), checkerboard, "test", ks=(2,))
    # Two liked items are unseen in training: the validation item and the test item.
    assert metrics["recall@2"] > 0.9


@pytest.mark.parametrize("name", NAMES)
def test_representations_have_the_announced_shape(name: str, checkerboard: Dataset) -> None:
    backbone = make(name, checkerboard)
    user, item = backbone()
    assert user.shape == (N_USERS, backbone.representation_dim)
    assert item.shape == (N_ITEMS, backbone.representation_dim)


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_gets_a_gradient_or_is_frozen(name: str, checkerboard: Dataset) -> None:
    backbone = make(name, checkerboard)
    backbone.begin_epoch(torch.Generator().manual_seed(0))
    sum(backbone.loss(batch_of(checkerboard), backbone()).values()).backward()
    without = [n for n, p in backbone.named_parameters() if p.requires_grad and p.grad is None]
    assert not without


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_losses_are_finite_scalars_of_the_parameters_dtype(
    name: str, dtype: torch.dtype, checkerboard: Dataset
) -> None:
    backbone = make(name, checkerboard).to(dtype)
    for term in backbone.loss(batch_of(checkerboard), backbone()).values():
        assert term.shape == ()
        assert term.dtype == dtype
        assert torch.isfinite(term)


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_one_pair_works(name: str, checkerboard: Dataset) -> None:
    backbone = make(name, checkerboard)
    loss = sum(backbone.loss(batch_of(checkerboard, 1), backbone()).values())
    loss.backward()
    assert torch.isfinite(loss)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_model(name: str, checkerboard: Dataset) -> None:
    first, second = make(name, checkerboard), make(name, checkerboard)
    for ours, theirs in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", NAMES)
def test_saved_weights_give_the_same_scores(
    name: str, checkerboard: Dataset, tmp_path: object
) -> None:
    backbone = make(name, checkerboard)
    fit(backbone, checkerboard, TrainingOptions(epochs=2), progress=False, run_dir=str(tmp_path))
    other = make(name, checkerboard)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    load_weights(str(tmp_path), other)
    other.eval()
    for ours, theirs in zip(backbone(), other(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", NAMES)
def test_checkpoints_hold_no_graph_and_no_frozen_features(name: str, checkerboard: Dataset) -> None:
    backbone = make(name, checkerboard)
    assert set(backbone.state_dict()) == set(dict(backbone.named_parameters()))


def test_freedom_draws_other_edges_each_epoch_and_the_same_for_a_seed(
    checkerboard: Dataset,
) -> None:
    backbone = make("freedom", checkerboard, dropout=0.5)
    draws = []
    for seed in (0, 0, 1):
        backbone.begin_epoch(torch.Generator().manual_seed(seed))
        draws.append(backbone.pruned.to_user.indices.clone())
    assert len(draws[0]) == int(checkerboard.train.shape[1] * 0.5)
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_freedom_prefers_edges_between_unpopular_nodes(checkerboard: Dataset) -> None:
    """Edges are kept with probability falling in the degrees of their ends (eq. 1)."""
    hub = torch.cat([torch.arange(20), torch.arange(20)])
    items = torch.cat([torch.zeros(20, dtype=torch.int64), torch.arange(20) % 19 + 1])
    held_out = torch.tensor([[0], [5]])
    features = {"shape": torch.randn(20, 4)}
    data = Dataset("hub", 20, 20, torch.stack([hub, items]), held_out, held_out, features)
    backbone = make("freedom", data, dropout=0.5)
    kept_hub = 0
    rng = torch.Generator().manual_seed(0)
    for _ in range(50):
        backbone.begin_epoch(rng)
        kept_hub += int((backbone.pruned.to_user.indices == 0).sum())
    assert kept_hub < 0.4 * 50 * 20


def test_freedom_refuses_weights_for_other_modalities(checkerboard: Dataset) -> None:
    with pytest.raises(ConfigError, match="modality_weights"):
        make("freedom", checkerboard, modality_weights={"image": 0.1, "text": 0.9})


def test_freedom_weighs_the_item_graphs(checkerboard: Dataset) -> None:
    one_sided = make("freedom", checkerboard, modality_weights={"shape": 1.0, "sound": 0.0})
    x = torch.randn(N_ITEMS, 16)
    expected = one_sided.item_graphs["shape"](x)
    torch.testing.assert_close(one_sided._propagate_items(x), expected)
