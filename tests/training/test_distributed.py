"""Several processes train as one does: the same gradients, histories, metrics and models.

Two processes, for which this file is a script, train every case once. Then one process, the one of
the tests, trains each of them.
"""

import itertools
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from crossalign.align import ALIGNERS
from crossalign.datasets.dataset import Dataset
from crossalign.errors import CrossalignError
from crossalign.evaluation.ranking import Evaluator
from crossalign.graphs import build_graph
from crossalign.models import BACKBONES, BPR, Representations
from crossalign.training import ALONE, RunContext, Team, TrainingOptions, fit, seed_everything
from crossalign.training.distributed import SharedEvaluator

OPTIONS = {"epochs": 2, "batch_size": 64, "learning_rate": 0.02, "patience": 50}
ALL_NEIGHBORS = {"sampling": "blocks", "fanout": -1}
APART = {"gather": False}
SAMPLED = {"sampling": "blocks", "fanout": 2, "lazy_embeddings": True}

# name -> backbone, alignment, their options, options of training
EQUAL = {
    "bpr": ("bpr", None, {}, {}),
    "lightgcn": ("lightgcn", None, {}, {}),
    "a contrast": ("lightgcn", "cross", {}, {}),
    "remembered spread": ("bpr", "cross", {"spread_decay": 0.5}, {}),
    "draws in every batch": ("sgl", None, {}, {}),
    "draws of both": ("sgl", "bm3", {"dropout": 0.5}, {}),
    "centroids of an epoch": ("ncl", "cross", {"codes": "kmeans", "n_prototypes": 4}, {}),
    "blocks": ("lightgcn", "cross", {}, ALL_NEIGHBORS),
    "blocks without propagation": ("vbpr", "infonce", {}, ALL_NEIGHBORS),
    "blocks of kept edges and item graphs": ("freedom", "cross", {}, ALL_NEIGHBORS),
    "lazy blocks": ("lightgcn", "cross", {}, ALL_NEIGHBORS | {"lazy_embeddings": True}),
    "a last batch of one pair": ("lightgcn", "cross", {}, ALL_NEIGHBORS | {"batch_size": 245}),
    "means over pairs": ("lightgcn", "bm3", {"dropout": 0.0}, APART),
    "means over pairs of blocks": ("bpr", "bm3", {"dropout": 0.0}, APART | ALL_NEIGHBORS),
}
DIFFERENT = {
    "contrasts of parts": ("lightgcn", "cross", {"spread_decay": 0.5}, APART),
    "draws of parts": ("sgl", "bm3", {"dropout": 0.5}, APART),
    "some neighbours": ("lightgcn", "cross", {}, SAMPLED),
    "parts of blocks": ("lightgcn", "cross", {}, SAMPLED | APART),
}


class Drifting(BPR):
    """A backbone that draws as it likes."""

    def begin_epoch(self, rng):
        torch.rand(1 + dist.get_rank())


REFUSED = {
    "more processes than pairs": ("bpr", None, {}, {"batch_size": 1}),
    "processes that come apart": (Drifting, None, {}, {}),
}


def world() -> Dataset:
    """Users with six items to train on, one to validate and one to test."""
    rng, n_users, n_items = torch.Generator().manual_seed(0), 41, 24
    items = torch.stack([torch.randperm(n_items, generator=rng) for _ in range(n_users)])
    splits = [
        torch.stack([torch.arange(n_users).repeat_interleave(n), chosen.flatten()])
        for n, chosen in ((6, items[:, :6]), (1, items[:, 6]), (1, items[:, 7]))
    ]
    features = {name: torch.randn(n_items, 5, generator=rng) for name in ("image", "text")}
    return Dataset("two", n_users, n_items, *splits, features=features)


def train(case, dataset, team=ALONE, folder=None, **more):
    """A whole training, from initialisation on, in float64."""
    name, aligner, settings, training = case
    seed_everything(0)
    backbone = BACKBONES[name].cls if isinstance(name, str) else name
    graph = build_graph(dataset, relations=backbone.relations)
    model = backbone(graph, dataset.features, dim=4).double()
    alignment = None
    if aligner is not None:
        cls = ALIGNERS[aligner].cls
        own = model.modalities()
        widths = {m: t.shape[1] for m, t in dataset.features.items() if m not in own}
        data = {"feature_dims": widths}
        if cls.wants_neighbors(settings):
            data["neighbors"] = (torch.arange(24)[:, None] + torch.tensor([2, 4, 7])) % 24
        alignment = cls(model.representation_dim, dataset.modalities, **data, **settings).double()
    features = {name: table.double() for name, table in dataset.features.items()}
    options = TrainingOptions(**OPTIONS | training | more)
    result = fit(
        model, dataset, options, alignment=alignment, features=features, seed=1,
        context=RunContext(folder, resume=folder is not None, progress=False, team=team),
    )  # fmt: skip
    modules = torch.nn.ModuleDict({"backbone": model, "alignment": alignment or torch.nn.Module()})
    state = {**dict(modules.named_parameters()), **dict(modules.named_buffers())}
    return {
        "history": result.history,
        "valid": dict(result.best_valid),
        "state": {name: tensor.detach() for name, tensor in state.items()},
        "gradients": {name: p.grad for name, p in modules.named_parameters()},
    }


def gradients_of_some(team):
    """Averages where parameters are reached by both processes, one, or none; dense and sparse."""
    both, one, none, table = (torch.nn.Parameter(torch.zeros(3, 2)) for _ in range(4))
    both.grad = torch.full((3, 2), 1.0 + team.rank)
    one.grad = torch.ones(3, 2) if team.rank == 1 else None
    rows = torch.tensor([[0, 2]]) if team.rank == 0 else torch.tensor([[2]])
    values = torch.ones(rows.shape[1], 2)
    table.grad = torch.sparse_coo_tensor(rows, values, (3, 2), check_invariants=True)
    team.average_gradients((both, one, none, table))
    return [both.grad, one.grad, none.grad, table.grad.to_dense(), table.grad._nnz()]


def main(folder: Path, port: str, rank: int) -> None:
    """Be one of two processes, and leave in the folder what it found."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://localhost:{port}", rank=rank, world_size=2)
    dataset, team, found = world(), Team(rank, 2), {}
    for name, case in (EQUAL | DIFFERENT).items():
        found[name] = train(case, dataset, team)
    resumed = folder / "resumed"
    train(EQUAL["a contrast"], dataset, team, resumed, epochs=1)
    found["resumed"] = train(EQUAL["a contrast"], dataset, team, resumed, epochs=3)
    found["gradients"] = gradients_of_some(team)
    for reason, case in REFUSED.items():
        with pytest.raises(CrossalignError) as refused:
            train(case, dataset, team)
        found[reason] = str(refused.value)
    torch.save(found, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return world()


@pytest.fixture(scope="module")
def both(folder):
    """What the two processes found."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, __file__, folder, str(port)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    started = [subprocess.Popen([*command, str(rank)], env=environment) for rank in range(2)]
    assert [process.wait(timeout=600) for process in started] == [0, 0]
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


def assert_equal_tensors(found, expected, **tolerance):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        if tensor is None:
            assert found[name] is None, name
        else:
            torch.testing.assert_close(found[name], tensor, **tolerance, equal_nan=True, msg=name)


@pytest.mark.parametrize("name", EQUAL)
def test_two_processes_train_as_one_does(name, both, dataset):
    """Gradients of the last step, losses and metrics of all epochs, and the model."""
    one, two = train(EQUAL[name], dataset), both[0][name]
    assert_equal_tensors(two["gradients"], one["gradients"], rtol=1e-10, atol=1e-10)
    assert_equal_tensors(two["state"], one["state"], rtol=1e-7, atol=1e-9)
    assert two["history"] == [pytest.approx(row, rel=1e-9, abs=1e-12) for row in one["history"]]
    assert two["valid"] == one["valid"]
    assert one["history"][0]["loss"] != one["history"][1]["loss"]


@pytest.mark.parametrize("name", EQUAL | DIFFERENT)
def test_processes_stay_equal_bit_for_bit(name, both):
    """Parameters, all buffers, and what was said of every epoch."""
    first, second = (found[name] for found in both)
    assert_equal_tensors(second["state"], first["state"], rtol=0, atol=0)
    assert second["history"] == first["history"]


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_parts_or_draws_change_still_trains(name, both, dataset):
    one, two = train(DIFFERENT[name], dataset), both[0][name]
    assert two["history"][0]["loss"] != pytest.approx(one["history"][0]["loss"], rel=1e-9)
    assert two["history"][0]["loss"] == pytest.approx(one["history"][0]["loss"], rel=0.1)
    assert two["history"][1]["loss"] < two["history"][0]["loss"]


def test_resumed_by_two_processes(both, dataset):
    """Killed after the first epoch and lengthened, against one process without a stop."""
    one = train(EQUAL["a contrast"], dataset, epochs=3)
    for found in both:
        assert found["resumed"]["history"] == one["history"]


def test_gradients_that_some_processes_lack(both):
    """They count as zero; a parameter that none reached keeps None, which Adam leaves alone."""
    for found in both:
        dense, of_one, none, table, n_rows = found["gradients"]
        assert torch.equal(dense, torch.full((3, 2), 1.5))
        assert torch.equal(of_one, torch.full((3, 2), 0.5))
        assert none is None
        assert torch.equal(table, torch.tensor([[0.5, 0.5], [0.0, 0.0], [1.0, 1.0]]))
        assert n_rows == 2, "a row is named twice"


def test_more_processes_than_pairs_are_refused(both):
    for found in both:
        assert found["more processes than pairs"] == (
            "2 processes share batches of 1 pairs: raise training.batch_size, or start fewer "
            "processes"
        )


def test_processes_that_come_apart_are_stopped(both):
    for found in both:
        assert "came apart in epoch 1" in found["processes that come apart"]


@pytest.mark.parametrize("size", [2, 3])
def test_users_to_evaluate_are_shared_out(size, dataset, monkeypatch):
    """Every held-out item is ranked by one process."""
    monkeypatch.setattr(Team, "sum", lambda team, ranks: ranks)
    tables = Representations(torch.rand(41, 3), torch.rand(24, 3))
    shares = []
    for rank in range(size):
        evaluator = SharedEvaluator(Team(rank, size), dataset, "valid", (5,))
        evaluator.block_users = 4
        shares.append(evaluator.ranks(tables))
    whole = Evaluator(dataset, "valid", (5,)).ranks(tables)
    assert torch.equal(torch.stack(shares).sum(0), whole)
    assert all((share != 0).any() for share in shares)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("n", [0, 1, 2, 6, 7, 20])
def test_parts_cover_all_rows_once(size, n):
    """Or all rows for every process where there are fewer; weights make the mean of means right."""
    teams = [Team(rank, size) for rank in range(size)]
    parts = [list(range(n))[team.part(n)] for team in teams]
    if n < size:
        assert parts == [list(range(n))] * size
    else:
        assert list(itertools.chain(*parts)) == list(range(n))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
    values = torch.rand(n, dtype=torch.float64)
    if n:
        means = [t.weight(n) * values[t.part(n)].mean() for t in teams]
        torch.testing.assert_close(sum(means) / size, values.mean())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
