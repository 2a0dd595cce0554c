"""Message passing: both engines against dense matrices, in values and gradients."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossalign.errors import ConfigError, CrossalignError
from crossalign.graphs import Adjacency, BipartitePropagation
from crossalign.graphs.engines import resolve_engine

ENGINES = ("dgl", "torch")
NORMS = ("both", "dst_both", "row", "none")


def random_edges(n_src, n_dst, n_edges, seed=0):
    rng = np.random.default_rng(seed)
    src, dst = rng.integers(0, n_src, n_edges), rng.integers(0, n_dst, n_edges)
    return torch.from_numpy(src), torch.from_numpy(dst)


def dense(src, dst, n_src, n_dst, norm, eps=1e-7):
    """The matrix by its definition, edge by edge."""
    in_degree, out_degree = [0] * n_dst, [0] * n_src
    for u, v in zip(src.tolist(), dst.tolist(), strict=True):
        in_degree[v] += 1
        out_degree[u] += 1
    matrix = torch.zeros(n_dst, n_src, dtype=torch.float64)
    for u, v in zip(src.tolist(), dst.tolist(), strict=True):
        value = {
            "both": lambda u, v: (in_degree[v] + eps) ** -0.5 * (out_degree[u] + eps) ** -0.5,
            "dst_both": lambda u, v: (
                (in_degree[v] + eps) ** -0.5 * (in_degree[u] + eps) ** -0.5 * (in_degree[u] > 0)
            ),
            "row": lambda u, v: 1 / (in_degree[v] + eps),
            "none": lambda u, v: 1.0,
        }[norm](u, v)
        matrix[v, u] += value
    return matrix


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("engine", ENGINES)
def test_product_and_gradient_equal_dense_matmul(engine, norm):
    """Repeated edges and isolated nodes included: 40 edges on 12 nodes leave both."""
    src, dst = random_edges(12, 12, 25)
    expected = dense(src, dst, 12, 12, norm)
    adjacency = Adjacency.from_edges(src, dst, 12, 12, norm=norm, engine=engine)
    x = torch.randn(12, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(12, 5, dtype=torch.float64)
    (mine,) = torch.autograd.grad((adjacency(x) * weight).sum(), x)
    (reference,) = torch.autograd.grad(((expected @ x) * weight).sum(), x)
    torch.testing.assert_close(adjacency(x), expected @ x, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(mine, reference, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        adjacency.transposed(weight), expected.T @ weight, rtol=1e-12, atol=1e-12
    )
    torch.testing.assert_close(adjacency(torch.eye(12, dtype=torch.float64)), expected)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("n_layers", [0, 1, 2, 3])
def test_layer_mean_equals_autograd_through_dense_matrices(engine, n_layers):
    n_users, n_items = 9, 7
    users, items = random_edges(n_users, n_items - 1, 20)  # item 6 has no edge
    to_user = dense(items, users, n_items, n_users, "both")
    user = torch.randn(n_users, 4, dtype=torch.float64, requires_grad=True)
    item = torch.randn(n_items, 4, dtype=torch.float64, requires_grad=True)
    weights = torch.randn_like(user), torch.randn_like(item)

    layers = [(user, item)]
    for _ in range(n_layers):
        u, i = layers[-1]
        layers.append((to_user @ i, to_user.T @ u))
    expected = [sum(part) / (n_layers + 1) for part in zip(*layers, strict=True)]
    propagation = BipartitePropagation.from_edges(users, items, n_users, n_items, engine=engine)
    actual = propagation(user, item, n_layers)
    for mine, reference in zip(actual, expected, strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-12, atol=1e-12)
    grads = torch.autograd.grad(actual, (user, item), weights)
    for mine, reference in zip(
        grads, torch.autograd.grad(expected, (user, item), weights), strict=True
    ):
        torch.testing.assert_close(mine, reference, rtol=1e-12, atol=1e-12)
    for mine, reference in zip(propagation.layers(user, item, n_layers), layers, strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("engine", ENGINES)
def test_gradcheck_and_second_derivative(engine):
    src, dst = random_edges(5, 4, 9)
    adjacency = Adjacency.from_edges(src, dst, 5, 4, engine=engine)
    propagation = BipartitePropagation(adjacency)
    x = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    y = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(adjacency, (x,))
    assert torch.autograd.gradcheck(lambda u, i: propagation(u, i, 3), (y, x))
    assert torch.autograd.gradgradcheck(adjacency, (x,))


@settings(max_examples=25, deadline=None)
@given(
    n_src=st.integers(1, 6),
    n_dst=st.integers(1, 6),
    n_edges=st.integers(0, 15),
    norm=st.sampled_from(("both", "row", "none")),
    seed=st.integers(0, 100),
)
def test_engines_agree_on_any_graph(n_src, n_dst, n_edges, norm, seed):
    src, dst = random_edges(n_src, n_dst, n_edges, seed)
    x = torch.randn(n_src, 3, dtype=torch.float64, requires_grad=True)
    out, grads = [], []
    for engine in ENGINES:
        adjacency = Adjacency.from_edges(src, dst, n_src, n_dst, norm=norm, engine=engine)
        out.append(adjacency(x))
        grads.append(torch.autograd.grad(out[-1].square().sum(), x)[0])
    torch.testing.assert_close(*out, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(*grads, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_graph_without_edges_gives_zeros(engine):
    none = torch.empty(0, dtype=torch.int64)
    propagation = BipartitePropagation.from_edges(none, none, 3, 2, engine=engine)
    user, item = propagation(torch.ones(3, 2), torch.ones(2, 2), 2)
    assert torch.equal(user, torch.full((3, 2), 1 / 3))
    assert torch.equal(item, torch.full((2, 2), 1 / 3))


@pytest.mark.parametrize("engine", ENGINES)
def test_every_value_of_a_knn_graph_is_one_over_k(engine):
    """FREEDOM's frozen item graph."""
    ids = torch.stack([torch.randperm(8)[:3] for _ in range(8)])
    item = torch.arange(8).repeat_interleave(3)
    adjacency = Adjacency.from_edges(
        ids.flatten(), item, 8, 8, norm="dst_both", engine=engine, eps=0.0
    )
    matrix = adjacency(torch.eye(8))
    torch.testing.assert_close(matrix[matrix != 0], torch.full((24,), 1 / 3))


def test_a_source_without_neighbours_of_its_own_counts_nothing():
    """A one-sided list: item 2 is a neighbour and has none; eps^-1/2 would be in the thousands."""
    src, dst = torch.tensor([1, 2, 0]), torch.tensor([0, 0, 1])
    matrix = Adjacency.from_edges(src, dst, 3, 3, norm="dst_both")(
        torch.eye(3, dtype=torch.float64)
    )
    expected = torch.zeros(3, 3, dtype=torch.float64)
    expected[0, 1] = expected[1, 0] = 2**-0.5
    torch.testing.assert_close(matrix, expected, rtol=1e-6, atol=0)


def test_float32_and_float64_work_on_one_module():
    src, dst = random_edges(6, 5, 14)
    adjacency = Adjacency.from_edges(src, dst, 6, 5)
    x = torch.randn(6, 3, dtype=torch.float64)
    assert adjacency(x.float()).dtype == torch.float32
    torch.testing.assert_close(adjacency(x.float()).double(), adjacency(x), rtol=1e-5, atol=1e-6)


def test_scalings_stay_exact_when_the_model_changes_type():
    """`.half().double()` must not leave rounded scalings behind."""
    src, dst = random_edges(6, 5, 14)
    adjacency = Adjacency.from_edges(src, dst, 6, 5)
    x = torch.randn(6, 3, dtype=torch.float64)
    before = adjacency(x)
    assert torch.equal(adjacency.half().double()(x), before)


def test_state_dict_is_empty_and_copies_work():
    src, dst = random_edges(6, 5, 14)
    propagation = BipartitePropagation(Adjacency.from_edges(src, dst, 6, 5))
    user, item = torch.randn(5, 3), torch.randn(6, 3)
    expected = propagation(user, item, 2)
    assert propagation.state_dict() == {}
    for twin in (copy.deepcopy(propagation), pickle.loads(pickle.dumps(propagation))):
        for mine, reference in zip(twin(user, item, 2), expected, strict=True):
            assert torch.equal(mine, reference)


def test_buffers_move_with_the_module():
    src, dst = random_edges(6, 5, 14)
    moved = Adjacency.from_edges(src, dst, 6, 5).to("meta")
    assert {buffer.device.type for buffer in moved.buffers()} == {"meta"}


def test_dgl_blocks_use_the_same_layer():
    from crossalign.graphs.dgl_import import dgl

    src, dst = random_edges(10, 10, 40)
    graph = dgl.graph((src, dst), num_nodes=10)
    block = dgl.to_block(dgl.in_subgraph(graph, [1, 2]), torch.tensor([1, 2]))
    adjacency = Adjacency.from_graph(block, "_E", norm="row")
    x = torch.randn(block.num_src_nodes(), 3)
    expected = dense(*block.edges(), block.num_src_nodes(), 2, "row").float() @ x
    torch.testing.assert_close(adjacency(x), expected)


def test_errors_are_clear(monkeypatch):
    src, dst = random_edges(6, 5, 14)
    with pytest.raises(ConfigError, match="did you mean 'torch'"):
        Adjacency.from_edges(src, dst, 6, 5, engine="troch")
    with pytest.raises(ConfigError, match="unknown norm 'sym'"):
        Adjacency.from_edges(src, dst, 6, 5, norm="sym")
    with pytest.raises(ValueError, match="within one node type"):
        Adjacency.from_edges(src, dst, 6, 5, norm="dst_both")
    with pytest.raises(ValueError, match=r"source nodes outside 0 \.\. 2"):
        Adjacency.from_edges(src, dst, 3, 5)
    with pytest.raises(ValueError, match=r"expected a \(6, dim\) tensor"):
        Adjacency.from_edges(src, dst, 6, 5)(torch.zeros(7, 2))
    with pytest.raises(ValueError, match="norm 'both'"):
        BipartitePropagation(Adjacency.from_edges(src, dst, 6, 5, norm="row"))
    monkeypatch.setattr("crossalign.graphs.dgl_import.dgl_has_cuda", lambda: False)
    cuda = torch.device("cuda")
    assert resolve_engine("auto", cuda) == "torch"
    assert resolve_engine("auto", torch.device("cpu")) == "torch"
    with pytest.raises(CrossalignError, match="cannot compute on cuda"):
        resolve_engine("dgl", cuda)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_cpu():
    src, dst = random_edges(60, 50, 400)
    adjacency = Adjacency.from_edges(src, dst, 60, 50)
    x = torch.randn(60, 8)
    torch.testing.assert_close(copy.deepcopy(adjacency).cuda()(x.cuda()).cpu(), adjacency(x))
