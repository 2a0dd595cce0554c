"""What every backbone must do, whatever it is: one suite over the registry.

A new backbone is covered as soon as it is registered.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from crossalign.components import make_backbone, make_graph
from crossalign.config import load_config
from crossalign.datasets import Dataset
from crossalign.errors import ConfigError
from crossalign.evaluation import evaluate, recommend
from crossalign.graphs import Adjacency
from crossalign.models import BACKBONES, Backbone, Batch
from crossalign.training import RunContext, TrainingOptions, fit, load_weights

COUPLED = {
    "alignrec": {"cca_user", "cca_item", "sim"},
    "crane": {"cl_user", "cl_item"},
    "directau": {"uniformity_user", "uniformity_item"},
    "lgmrec": {"hcl_user", "hcl_item"},
    "mgcn": {"cl_user", "cl_item"},
    "ncl": {"ssl_user", "ssl_item", "proto_user", "proto_item"},
    "rearm": {"cl_user", "cl_item", "diff_user", "diff_item"},
    "sgl": {"cl_user", "cl_item"},
    "smore": {"cl_user", "cl_item"},
    "slmrec": {"main", "fac_shape", "fac_sound"},
}
"""Terms that are no mean over pairs: contrasts within the batch or over random views, sums over it
(NCL). Every other term of every backbone is one, but for `reg`, which may be un-squared norms."""

STILL: dict[str, dict[str, object]] = {
    "freedom": {"dropout": 0.0},
    "lgmrec": {"dropout": 0.0, "noise": "none"},
    "rearm": {"self_dropout": 0.0, "cross_dropout": 0.0},
}
"""Options without which a forward pass in training draws at random."""

every_backbone = pytest.mark.parametrize("name", BACKBONES.names())


def batch_of(data: Dataset, size: int = 30) -> Batch:
    users, items = data.train[:, :size]
    return Batch(users, items, (items + 1) % data.n_items)


def begin(backbone: Backbone) -> Backbone:
    """With what an epoch draws or builds."""
    backbone.begin_epoch(torch.Generator().manual_seed(0))
    return backbone


def step(backbone: Backbone, batch: Batch) -> Tensor:
    """The loss of a batch, after its backward pass."""
    torch.manual_seed(0)
    total = torch.stack(list(backbone.loss(batch, backbone()).values())).sum()
    total.backward()
    return total


@every_backbone
def test_it_learns_a_data_set_with_a_known_answer(name: str, checkerboard, registered) -> None:
    little = {"reg_weight": 1e-4} if "reg_weight" in BACKBONES[name].options() else {}
    if name == "directau":  # its default spreads 24 users over a circle harder than they agree
        little["gamma"] = 0.2
    backbone = registered(name, checkerboard, dim=4, **little)
    options = TrainingOptions(epochs=60, batch_size=64, learning_rate=0.02, monitor="ndcg@2")
    fit(backbone, checkerboard, options, context=RunContext(progress=False))
    with torch.no_grad():
        metrics = evaluate(backbone(), checkerboard, "test", ks=(2,))
    # Two liked items are unseen in training: the validation item and the test item.
    assert metrics["recall@2"] > 0.9


@every_backbone
def test_representations_have_the_announced_shape(name: str, checkerboard, registered) -> None:
    backbone = registered(name, checkerboard)
    user, item = backbone()
    assert user.shape == (checkerboard.n_users, backbone.representation_dim)
    assert item.shape == (checkerboard.n_items, backbone.representation_dim)


@every_backbone
def test_it_says_whether_content_places_an_item(name: str, checkerboard, registered) -> None:
    """The same backbone, but for the content of item 0, and so its neighbours."""
    swapped = {m: table[[5, *range(1, len(table))]] for m, table in checkerboard.features.items()}
    data = replace(checkerboard, features=swapped)
    before, after = (registered(name, some).eval()().item[0] for some in (checkerboard, data))
    assert torch.equal(before, after) != BACKBONES[name].cls.represents_content


@every_backbone
def test_every_parameter_gets_a_gradient_or_is_frozen(name: str, checkerboard, registered) -> None:
    backbone = begin(registered(name, checkerboard))
    step(backbone, batch_of(checkerboard))
    without = [n for n, p in backbone.named_parameters() if p.requires_grad and p.grad is None]
    assert not without


@every_backbone
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_losses_are_finite_scalars_of_the_parameters_dtype(
    name: str, dtype: torch.dtype, checkerboard, registered
) -> None:
    backbone = begin(registered(name, checkerboard).to(dtype))
    for term in backbone.loss(batch_of(checkerboard), backbone()).values():
        assert term.shape == ()
        assert term.dtype == dtype
        assert torch.isfinite(term)


@every_backbone
def test_both_precisions_represent_alike(name: str, checkerboard, registered) -> None:
    backbone = registered(name, checkerboard).eval()
    single = [table.clone() for table in backbone()]
    for low, high in zip(single, backbone.double()(), strict=True):
        assert (low.dtype, high.dtype) == (torch.float32, torch.float64)
        torch.testing.assert_close(low.double(), high, rtol=1e-4, atol=1e-5)


@every_backbone
def test_both_engines_agree(name: str, checkerboard, registered) -> None:
    """Representations, and the gradients of the loss."""
    results = []
    for engine in ("torch", "dgl"):
        backbone = begin(registered(name, checkerboard).double())
        for module in backbone.modules():
            if isinstance(module, Adjacency):
                module.engine = engine
        backbone.double()  # prepares the kernels anew
        step(backbone, batch_of(checkerboard))
        gradients = [p.grad for p in backbone.parameters() if p.grad is not None]
        results.append([*backbone.eval()(), *gradients])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


@every_backbone
def test_a_batch_is_the_mean_of_its_pairs(name: str, checkerboard, registered) -> None:
    """Every term that is not known to couple pairs; those that are must do so."""
    backbone = begin(registered(name, checkerboard).double()).eval()
    batch, representations = batch_of(checkerboard), backbone()
    together = backbone.loss(batch, representations)
    pairs = [Batch(*(ids[k : k + 1] for ids in batch)) for k in range(len(batch.users))]
    alone = [backbone.loss(pair, representations) for pair in pairs]
    means = {term: torch.stack([one[term] for one in alone]).mean() for term in together}
    differs = {t for t, mean in means.items() if not torch.isclose(together[t], mean, rtol=1e-9)}
    assert differs - {"reg"} == COUPLED.get(name, set())


@every_backbone
def test_the_loss_of_a_batch_needs_no_whole_tables(name: str, checkerboard, registered) -> None:
    """Without an alignment, a backbone may compute the rows of the batch alone."""
    batch, results = batch_of(checkerboard), []
    for alone in (False, True):
        backbone = begin(registered(name, checkerboard).double())
        torch.manual_seed(0)
        terms = backbone.batch_loss(batch) if alone else backbone.loss(batch, backbone())
        torch.stack(list(terms.values())).sum().backward()
        gradients = {n: p.grad for n, p in backbone.named_parameters() if p.requires_grad}
        results.append({**terms, **gradients})
    torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=1e-12)


@every_backbone
def test_seen_items_are_not_recommended(name: str, checkerboard, registered) -> None:
    """All others are, the held-out ones among them."""
    users, train = torch.arange(checkerboard.n_users), checkerboard.train
    backbone = registered(name, checkerboard).eval()
    ids, _ = recommend(backbone(), users, checkerboard.n_items, exclude=train)
    for user, listed in enumerate(ids.tolist()):
        seen = set(train[1, train[0] == user].tolist())
        unseen = set(range(checkerboard.n_items)) - seen
        assert set(listed[: len(unseen)]) == unseen
        assert set(listed[len(unseen) :]) == {-1}


@every_backbone
@pytest.mark.parametrize("modalities", [("shape",), ("shape", "sound", "smell")])
def test_any_number_of_modalities_works(
    name: str, modalities: tuple[str, ...], checkerboard, registered
) -> None:
    tables = {**checkerboard.features, "smell": checkerboard.features["sound"].flip(0)}
    data = replace(checkerboard, features={m: tables[m] for m in modalities})
    backbone = begin(registered(name, data))
    assert torch.isfinite(step(backbone, batch_of(data)))
    assert set(backbone.modalities()) <= set(modalities)
    assert backbone().user.shape[1] == backbone.representation_dim


@every_backbone
def test_each_modality_is_projected_by_the_backbone_or_left_raw(
    name: str, checkerboard, registered
) -> None:
    """An alignment gets one table of each modality, in their order, and projects the raw ones."""
    raw = checkerboard.features
    backbone = registered(name, checkerboard)
    content, left = backbone.content(raw), backbone.unprojected(raw)
    assert list(content) == list(raw)
    assert set(left) == set(raw) - set(backbone.modalities())
    assert all((content[m] is raw[m]) == (m in left) for m in raw)


@every_backbone
def test_missing_rows_leave_everything_finite(name: str, checkerboard, registered) -> None:
    """Some items lack one modality, and one item lacks both."""
    items = torch.arange(checkerboard.n_items)
    missing = {"shape": items % 5 == 0, "sound": items % 5 == 1}
    missing["sound"][0] = True
    features = {m: t.masked_fill(missing[m][:, None], 0) for m, t in checkerboard.features.items()}
    data = replace(checkerboard, features=features, missing=missing)
    backbone = begin(registered(name, data))
    assert torch.isfinite(step(backbone, batch_of(data)))
    for parameter, value in backbone.named_parameters():
        assert value.grad is None or torch.isfinite(value.grad).all(), parameter
    assert all(torch.isfinite(table).all() for table in backbone.eval()())


@every_backbone
def test_data_without_features_work_or_are_refused_in_one_line(name: str, checkerboard) -> None:
    data = replace(checkerboard, features={})
    config = load_config(None, backbone=name)
    cls = BACKBONES[name].cls
    if cls.needs_features or "similar" in cls.relations:
        with pytest.raises(ConfigError) as refusal:
            make_backbone(config, make_graph(config, data), data)
        assert "features" in str(refusal.value)
        assert "\n" not in str(refusal.value)
    else:
        backbone = make_backbone(config, make_graph(config, data), data)
        assert torch.isfinite(step(begin(backbone), batch_of(data)))
        assert not backbone.modalities()


@every_backbone
def test_a_batch_of_one_pair_works(name: str, checkerboard, registered) -> None:
    assert torch.isfinite(step(registered(name, checkerboard), batch_of(checkerboard, 1)))


@every_backbone
def test_the_same_seed_gives_the_same_step(name: str, checkerboard, registered) -> None:
    results = []
    for _ in range(2):
        backbone = begin(registered(name, checkerboard))
        start = [parameter.clone() for parameter in backbone.parameters()]
        loss = step(backbone, batch_of(checkerboard))
        results.append([*start, loss, *(p.grad for p in backbone.parameters() if p.requires_grad)])
    for ours, theirs in zip(*results, strict=True):
        assert torch.equal(ours, theirs)


@every_backbone
def test_saved_weights_give_the_same_scores(
    name: str, checkerboard, registered, tmp_path: Path
) -> None:
    backbone = registered(name, checkerboard)
    fit(
        backbone,
        checkerboard,
        TrainingOptions(epochs=2),
        context=RunContext(tmp_path, progress=False),
    )
    other = registered(name, checkerboard)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    load_weights(tmp_path, other)
    other.eval()
    for ours, theirs in zip(backbone(), other(), strict=True):
        assert torch.equal(ours, theirs)


@every_backbone
def test_checkpoints_hold_no_graph_and_no_frozen_features(
    name: str, checkerboard, registered
) -> None:
    backbone = registered(name, checkerboard)
    assert set(backbone.state_dict()) == set(dict(backbone.named_parameters()))


@every_backbone
def test_a_copy_after_a_step_gives_the_same(name: str, checkerboard, registered) -> None:
    """As loops that keep the best model in memory make it."""
    backbone = begin(registered(name, checkerboard))
    step(backbone, batch_of(checkerboard))
    other = copy.deepcopy(backbone).eval()
    for ours, theirs in zip(backbone.eval()(), other(), strict=True):
        assert torch.equal(ours, theirs)


@every_backbone
def test_alignment_judges_what_it_is_trained_on(name: str, checkerboard, registered) -> None:
    backbone = registered(name, checkerboard, **STILL.get(name, {}))
    with torch.no_grad():
        judged = backbone.eval().aligned()
        trained = backbone.train()()
    for ours, theirs in zip(judged, trained, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-6)
