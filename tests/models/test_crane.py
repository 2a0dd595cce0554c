"""What each part of CRANE promises; its numbers are checked in `test_crane_formulas.py`."""

from __future__ import annotations

import itertools

import pytest
import torch

from crossalign.datasets import Dataset
from crossalign.errors import ConfigError
from crossalign.graphs import GraphOptions
from crossalign.models import Batch
from crossalign.models.crane import CRANE
from crossalign.training import RunContext, TrainingOptions, fit

N, DIM, K = 14, 4, 3
LACKS_ALL, LONER, ITEM_OF_LONER, IDLE = 4, 8, 10, 7
BATCH = Batch(torch.tensor([0, 3, 0, 5]), torch.tensor([0, 3, 1, 6]), torch.tensor([9, 4, 6, 11]))


def data_of(n: int = N, held_out: int = 2) -> Dataset:
    """User u has the items u, u + 1 and u + 5, but user 7 has none and user 8 only item 10."""
    users = torch.arange(n).repeat_interleave(3)
    train = torch.stack([users, (users + torch.tensor([0, 1, 5]).repeat(n)) % n])
    train = train[:, (users != IDLE) & (users != LONER)]
    train = torch.cat([train, torch.tensor([[LONER], [ITEM_OF_LONER]])], dim=1)
    others = torch.arange(6)
    valid, test = (torch.stack([others, others + held_out + more]) for more in (0, 1))
    rng = torch.Generator().manual_seed(1)
    features = {
        name: torch.randn(n, width, generator=rng)
        for width, name in enumerate(("image", "text", "audio"), start=5)
    }
    for table in features.values():
        table[LACKS_ALL] = 0
    missing = {name: ~table.any(dim=1) for name, table in features.items()}
    return Dataset("ring", n, n, train, valid, test, features, missing=missing)


@pytest.fixture
def make(build):
    """`make(data, **options)`: in float64, with random numbers for all parameters."""

    def make(data: Dataset | None = None, **options: object) -> CRANE:
        chosen = {"dim": DIM, "n_neighbors": K, "warm_epochs": 0, "dropout": 0.0} | options
        backbone = build(CRANE, data or data_of(), GraphOptions(knn_k=K), **chosen)
        rng = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for parameter in backbone.parameters():
                if parameter.requires_grad:
                    parameter.normal_(0, 0.4, generator=rng)
        return backbone

    return make


def test_a_user_of_one_item_has_that_items_content(make) -> None:
    backbone = make()
    contents = backbone.contents()
    profiles = backbone.profiles(contents)
    for profile, content in zip(profiles, contents, strict=True):
        torch.testing.assert_close(profile[LONER], content[ITEM_OF_LONER], rtol=0, atol=0)
        assert (profile[IDLE] == 0).all()  # has no training item
    attended = backbone.attention(contents)
    users = backbone.attention(profiles, correlations=attended.correlations)
    torch.testing.assert_close(users.content[LONER], attended.content[ITEM_OF_LONER])


@pytest.mark.parametrize("n_recursions", [0, 2])
def test_gradients_reach_the_projectors_through_users(n_recursions: int, make) -> None:
    backbone = make(n_recursions=n_recursions)
    backbone().user.square().sum().backward()
    for projector in backbone.projectors.values():
        assert projector.weight.grad.abs().sum() > 0
    ids_only = make(user_profile="none")
    ids_only().user.square().sum().backward()
    assert all(p.grad is None for p in ids_only.projectors.parameters())


def test_held_out_interactions_change_no_tensor(make) -> None:
    states = []
    for held_out in (2, 6):
        backbone = make(data_of(held_out=held_out), dropout=0.5)
        backbone.begin_epoch(torch.Generator().manual_seed(0))
        representations = backbone()
        sum(backbone.loss(BATCH, representations).values()).backward()
        gradients = [parameter.grad for parameter in backbone.parameters()]
        state = [*representations, *gradients, *backbone.parameters(), *backbone.buffers()]
        states.append([*state, *backbone.propagation.edges, *backbone.eval()()])
    assert not torch.equal(data_of(held_out=2).test, data_of(held_out=6).test)
    for one, other in zip(*states, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("include_self", [True, False])
def test_rows_of_the_item_graph_are_means_of_k_neighbours(include_self: bool, make) -> None:
    backbone = make(include_self=include_self)
    content = torch.randn(N, DIM, dtype=torch.float64)
    graph = backbone.item_graph.build(content)(torch.eye(N, dtype=torch.float64))
    rows = torch.ones(N, dtype=torch.float64)
    rows[LACKS_ALL] = 0
    torch.testing.assert_close(graph.sum(dim=1), rows)
    assert graph.unique().tolist() == pytest.approx([0, 1 / K])
    assert (graph[:, LACKS_ALL] == 0).all()
    torch.testing.assert_close(graph.diagonal() > 0, (rows > 0) & include_self)


def test_items_without_content_stay_finite(make) -> None:
    backbone = make()
    backbone.begin_epoch(torch.Generator())
    user, item = backbone()
    sum(backbone.loss(BATCH, backbone()).values()).backward()
    assert torch.isfinite(user).all()
    assert torch.isfinite(item).all()
    assert all(torch.isfinite(p.grad).all() for p in backbone.parameters())
    _, behaviour = backbone.propagation(backbone.user_embedding, backbone.item_embedding, 2)
    assert torch.equal(item[LACKS_ALL], behaviour[LACKS_ALL])


def test_the_raw_graphs_serve_the_first_epochs_and_for_good_if_asked(make) -> None:
    warm, always = make(warm_epochs=2), make(item_graph="raw")
    content = torch.randn(N, DIM, dtype=torch.float64)
    refined = warm.item_graph
    for epoch in range(1, 4):
        warm.begin_epoch(torch.Generator())
        assert int(refined.epochs_begun) == epoch
        assert (refined.of_epoch is refined.raw) == (epoch <= 2)
        always.begin_epoch(torch.Generator())
        assert always.item_graph.of_epoch is always.item_graph.raw
    weighted = make(modality_weights={"image": 1.0, "text": 3.0, "audio": 0.0})
    raw = weighted.item_graph.raw
    expected = 0.25 * raw["image"](content) + 0.75 * raw["text"](content)
    torch.testing.assert_close(raw(content), expected)


def test_scores_before_and_after_loading_agree_in_every_epoch(make) -> None:
    """Also in the last raw epoch: the count of epochs goes with the weights."""
    backbone, rng = make(warm_epochs=2), torch.Generator().manual_seed(0)
    for _ in range(3):
        backbone.train().begin_epoch(torch.Generator())
        with torch.no_grad():
            backbone.attention.fusion.weight.normal_(generator=rng)  # steps of the epoch
        other = make(warm_epochs=2)
        other.load_state_dict(backbone.state_dict())
        for ours, theirs in zip(backbone.eval()(), other.eval()(), strict=True):
            assert torch.equal(ours, theirs)


def test_a_resumed_run_goes_on_from_raw_to_refined_where_it_was(make, tmp_path) -> None:
    def run(folder: str, epochs: int, resume: bool = False) -> list[float]:
        backbone, options = make(warm_epochs=2, dropout=0.5), TrainingOptions(epochs, batch_size=8)
        context = RunContext(tmp_path / folder, resume, progress=False)
        return [row["loss"] for row in fit(backbone, data_of(), options, context=context).history]

    whole = run("whole", 4)
    run("broken", 1)
    assert run("broken", 4, resume=True) == whole


def test_the_graph_of_an_epoch_stays_while_parameters_move(make) -> None:
    backbone = make()
    backbone.begin_epoch(torch.Generator())
    kept = backbone.item_graph.of_epoch.indices.clone()
    with torch.no_grad():
        backbone.attention.fusion.weight.normal_()
    backbone()
    assert torch.equal(backbone.item_graph.of_epoch.indices, kept)
    backbone.begin_epoch(torch.Generator())
    assert not torch.equal(backbone.item_graph.of_epoch.indices, kept)


def test_attention_dropout_works_in_training_alone_and_never_on_the_graph(make) -> None:
    dry, wet = make(), make(attention_dropout=0.5)
    for backbone in (dry, wet):
        backbone.begin_epoch(torch.Generator())
    assert torch.equal(wet.item_graph.of_epoch.indices, dry.item_graph.of_epoch.indices)
    assert not torch.equal(wet().item, wet().item)
    assert torch.equal(wet.eval()().item, dry.eval()().item)


def test_the_options_of_the_loss_leave_out_its_terms(make) -> None:
    for cl, reg in itertools.product((0.0, 0.1), repeat=2):
        backbone = make(cl_weight=cl, reg_weight=reg)
        names = {"bpr"} | ({"cl_item", "cl_user"} if cl else set()) | ({"reg"} if reg else set())
        assert set(backbone.loss(BATCH, backbone())) == names


def test_content_that_would_reach_nothing_is_refused(make) -> None:
    with pytest.raises(ConfigError, match="set user_profile to mean"):
        make(item_input="behaviour", user_profile="none")
