"""What each part of AlignRec promises; its numbers are checked in `test_alignrec_formulas.py`."""

from __future__ import annotations

import math

import pytest
import torch

from crossalign.datasets import Dataset
from crossalign.errors import ConfigError
from crossalign.graphs import GraphOptions, build_graph
from crossalign.models import Batch, Representations, alignrec
from crossalign.models.alignrec import AlignRec, Views, similarity_gap

N_USERS, N_ITEMS = 9, 12
BLANK = 5  # an item without any features
BATCH = Batch(*torch.tensor([[0, 1, 1, 4, 8], [2, 3, 0, 5, 3], [11, 10, 4, 1, 7]]))
WEIGHTS = ("cl_weight", "uia_weight", "sim_weight", "reg_weight")


def data_of(names: str) -> Dataset:
    users = torch.arange(N_USERS).repeat(2)
    pairs = torch.stack([users, torch.arange(2 * N_USERS) % (N_ITEMS - 1)])
    rng = torch.Generator().manual_seed(1)
    tables = {name: torch.randn(N_ITEMS, d, generator=rng) for name, d in (("a", 6), ("b", 3))}
    for table in tables.values():
        table[BLANK] = 0
    features = {name: tables[name] for name in names}
    return Dataset("toy", N_USERS, N_ITEMS, pairs, pairs[:, :1], pairs[:, :1], features=features)


@pytest.fixture
def make(build):
    """`make(names, **options)`: a backbone of these modalities, in float64."""

    def make(names: str = "a", **options: object) -> AlignRec:
        return build(AlignRec, data_of(names), GraphOptions(knn_k=4), dim=4, **options)

    return make


def test_similarity_gap_vanishes_at_the_target_and_sees_the_scale() -> None:
    target = torch.nn.functional.normalize(torch.randn(5, 3, dtype=torch.float64))
    counts = torch.tensor([1, 3, 1, 2, 1])
    content = target.clone().requires_grad_()
    at_target = similarity_gap(content, target, counts)
    at_target.backward()
    assert at_target.item() == 0
    assert torch.isfinite(content.grad).all()
    rows = target.repeat_interleave(counts, 0)
    size = (rows @ rows.T).norm() / len(rows)
    torch.testing.assert_close(similarity_gap(2 * target, target, counts), 3 * size)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("block", [7, 128, 512])
def test_similarity_gap_and_its_gradient_are_those_of_whole_products(
    block: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alignrec, "BLOCK", block)
    torch.manual_seed(0)
    content = torch.randn(300, 4, dtype=dtype, requires_grad=True)
    target, counts = torch.randn(300, 9, dtype=dtype), torch.randint(1, 4, (300,))
    weights = counts.to(dtype).outer(counts.to(dtype)).sqrt() / counts.sum()
    gap = (weights * (content @ content.T - target @ target.T)).norm()
    found = similarity_gap(content, target, counts)
    torch.testing.assert_close(found, gap)
    grads = [torch.autograd.grad(3 * value, content)[0] for value in (found, gap)]
    torch.testing.assert_close(*grads)


def test_user_item_term_is_between_0_and_twice_its_weight(make) -> None:
    model = make("a", uia_weight=0.1)
    model()
    rows = torch.randn(N_ITEMS, 4, dtype=torch.float64)
    same = Batch(*(torch.arange(9),) * 3)
    for sign, expected in ((1, 0.0), (-1, 0.2)):
        term = model.loss(same, Representations(rows[:N_USERS], sign * rows))["uia"]
        assert term.item() == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("symmetric", [False, True])
def test_equal_cosines_cost_the_logarithm_of_the_batch_for_users_and_items(
    symmetric: bool, make
) -> None:
    model = make("a", cl_weight=1.0, symmetric=symmetric)
    representations = model()
    flat = Representations(*(torch.ones_like(table) for table in representations))
    model.last.keep(Views(flat, flat))
    terms = model.loss(BATCH, representations)
    total = terms["cca_user"] + terms["cca_item"]
    assert total.item() == pytest.approx(2 * math.log(len(BATCH.users)))


def test_terms_of_weight_0_are_left_out(make) -> None:
    model = make("a", **dict.fromkeys(WEIGHTS, 0.0))
    assert set(model.loss(BATCH, model())) == {"bpr"}


def test_blank_items_are_finite_in_every_term_and_gradient(make) -> None:
    for names in ("a", "ab"):
        model = make(names, trainable_features=True)
        terms = model.loss(Batch(*(torch.tensor([BLANK]),) * 3), model())
        sum(terms.values()).backward()
        assert all(torch.isfinite(term) for term in terms.values())
        assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_the_target_is_frozen_unless_live(make) -> None:
    """The released code's target moves with the trained table; ours does by request only."""
    gaps = {}
    for target in ("frozen", "live"):
        model = make("a", trainable_features=True, sim_target=target)
        with torch.no_grad():
            model.features["content"][3].neg_()
            model.gate.weight.zero_()  # so that content moves nothing but the target
            model.gate.bias.fill_(torch.inf)
        first = model.loss(BATCH, model())["sim"]
        with torch.no_grad():
            model.features["content"][3].neg_()
        gaps[target] = (first, model.loss(BATCH, model())["sim"])
    assert gaps["frozen"][0] == gaps["frozen"][1]
    assert gaps["live"][0] != gaps["live"][1]
    assert gaps["live"][1] == gaps["frozen"][1]


def test_frozen_and_trained_tables_are_as_announced(make) -> None:
    given = data_of("a").features["a"].double()
    for trainable in (False, True):
        model = make("a", trainable_features=trainable)
        assert ("features.content" in model.state_dict()) == trainable
        assert set(model.state_dict()) == set(dict(model.named_parameters()))
        assert torch.equal(model.features["content"], given)


def test_alignment_gets_the_projection_of_a_single_modality_only(make) -> None:
    model = make("a")
    rows = torch.tensor([3, 0])
    expected = model.projector(data_of("a").features["a"].double()[rows])
    assert list(model.modalities()) == ["a"]
    torch.testing.assert_close(model.modalities()["a"][rows], expected)
    assert make("ab").modalities() == {}


def test_the_item_graph_is_that_of_the_pipeline_and_is_not_built_again() -> None:
    data = data_of("ab")
    features = {name: table.double() for name, table in data.features.items()}
    graph = build_graph(data, GraphOptions(knn_k=2, knn_self=False), relations=AlignRec.relations)
    pattern = AlignRec(graph, features).item_graph.pattern
    neighbor, item = graph.edges(etype="unified")
    assert torch.equal(pattern.rows, item)
    assert torch.equal(pattern.cols, neighbor)
    with pytest.raises(ConfigError, match="no relation 'unified'"):
        AlignRec(build_graph(data), features)
