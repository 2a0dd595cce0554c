"""Full ranking: exact with ties and masks, independent of blocks, and plain about bad input."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossalign.errors import ConfigError, DataError, RunError
from crossalign.evaluation import Evaluator, evaluate


@pytest.mark.parametrize("split", ["valid", "test"])
@pytest.mark.parametrize("block_users", [None, 1, 7, 1000])
def test_golden_end_to_end(golden, make_dataset, as_representations, split, block_users):
    """MMRec's masks and averages: validation items stay candidates when testing."""
    train, valid, test = (golden[f"e2e/{name}"].tolist() for name in ("train", "valid", "test"))
    dataset = make_dataset(60, 45, train, valid, test)
    scores = as_representations(torch.from_numpy(golden["e2e/scores"]))
    ks = golden["ks"].tolist()
    ours = evaluate(scores, dataset, split, ks, block_users=block_users)
    assert ours.n_users == len(golden[f"e2e/{split}_users"])
    for name in ("recall", "ndcg", "precision", "map"):
        values = [ours[f"{name}@{k}"] for k in ks]
        np.testing.assert_allclose(values, golden[f"e2e/{split}_{name}"], rtol=1e-13)


@st.composite
def worlds(draw):
    """Integer scores full of ties; users with any number of train and held-out items, or none."""
    n_users, n_items = draw(st.integers(1, 7)), draw(st.integers(2, 12))
    train, valid = [], []
    for user in range(n_users):
        for item in range(n_items):
            part = draw(st.sampled_from(["train", "valid", "none", "none"]))
            train += [(user, item)] * (part == "train")
            valid += [(user, item)] * (part == "valid")
    trained = {user for user, _ in train}
    valid = [(user, item) for user, item in valid if user in trained]
    values = st.integers(-2, 2)
    scores = [[draw(values) for _ in range(n_items)] for _ in range(n_users)]
    return n_users, n_items, train, valid, scores


@settings(max_examples=80, deadline=None)
@given(world=worlds(), block=st.sampled_from([None, 1, 2, 3]), double=st.booleans())
def test_loop_reference(reference, ranking, make_dataset, as_representations, world, block, double):
    """Ranks with ties by the lower id, masks, missing users, cut-offs beyond the catalogue."""
    n_users, n_items, train, valid, scores = world
    if not valid:
        return
    dataset = make_dataset(n_users, n_items, train, valid)
    ks = (1, 2, 5, 30)
    table = torch.tensor(scores, dtype=torch.float64 if double else torch.float32)
    evaluator = Evaluator(dataset, "valid", ks, block_users=block)
    per_user = evaluator.per_user(as_representations(table))
    assert sorted(evaluator.users.tolist()) == sorted({user for user, _ in valid})
    for row, user in enumerate(evaluator.users.tolist()):
        left_out = {item for owner, item in train if owner == user}
        relevant = {item for owner, item in valid if owner == user}
        ranked = ranking(scores[user], left_out)
        for column, k in enumerate(ks):
            for name, value in reference(ranked, relevant, k).items():
                assert per_user[name][row, column] == pytest.approx(value, rel=1e-12), (name, k)


@pytest.fixture
def random_world(make_dataset):
    """200 users, 90 items, and representations without ties."""
    rng = torch.Generator().manual_seed(0)
    split = torch.rand(200, 90, generator=rng)
    train = (split < 0.1).nonzero().tolist() + [[user, 0] for user in range(200)]
    train = sorted({tuple(pair) for pair in train})
    valid = [pair for pair in (split > 0.97).nonzero().tolist() if pair[1] != 0]
    dataset = make_dataset(200, 90, train, valid)
    user, item = torch.randn(200, 8, generator=rng), torch.randn(90, 8, generator=rng)
    return dataset, (user, item)


def test_block_size_does_not_matter(random_world):
    dataset, tables = random_world
    results = [evaluate(tables, dataset, "valid", block_users=b) for b in (None, 1, 13, 10**6)]
    assert all(result == results[0] for result in results)


def test_agrees_with_topk(random_world):
    """The plain way: mask, take the 20 best, look for the held-out items."""
    dataset, (user, item) = random_world
    scores = user @ item.T
    scores[dataset.train[0], dataset.train[1]] = -torch.inf
    top = scores.topk(20).indices
    recalls = []
    for one in dataset.valid[0].unique().tolist():
        relevant = set(dataset.valid[1][dataset.valid[0] == one].tolist())
        recalls.append(len(relevant & set(top[one].tolist())) / len(relevant))
    metrics = evaluate((user, item), dataset, "valid", ks=(20,))
    assert metrics["recall@20"] == pytest.approx(sum(recalls) / len(recalls), rel=1e-12)
    assert metrics.n_users == len(recalls)


def test_one_evaluator_serves_many_epochs(random_world):
    dataset, (user, item) = random_world
    evaluator = Evaluator(dataset, "valid")
    first = evaluator((user, item))
    assert evaluator((-user, item)) != first
    assert evaluator((user, item)) == first
    assert evaluator((user, item)) == evaluate((user, item), dataset, "valid")


def test_tables_with_gradients_and_half_precision(random_world):
    dataset, (user, item) = random_world
    expected = evaluate((user, item), dataset, "valid")
    assert evaluate((user.requires_grad_(), item), dataset, "valid") == expected
    with torch.inference_mode():
        assert evaluate((user * 1.0, item * 1.0), dataset, "valid") == expected
    half = (user.detach().half(), item.half())
    widened = tuple(table.float() for table in half)
    assert evaluate(half, dataset, "valid") == evaluate(widened, dataset, "valid")


def test_all_scores_equal_ranks_by_id(make_dataset, as_representations):
    """A model that learnt nothing gets no lucky order."""
    dataset = make_dataset(2, 6, [(0, 0), (1, 1)], [(0, 1), (1, 5)])
    metrics = evaluate(as_representations(torch.zeros(2, 6)), dataset, "valid", ks=(1, 5))
    assert metrics["hit@1"] == 0.5  # item 1 is the first that user 0 is not masked from
    assert metrics["mrr@5"] == (1 + 1 / 5) / 2


def test_dropped_rows_are_reported(random_world):
    dataset, tables = random_world
    dataset = replace(dataset, dropped={"valid": 7, "test": 1})
    assert evaluate(tables, dataset, "valid").to_dict()["dropped_rows"] == 7


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("table", "name"), [(0, "user"), (1, "item")])
def test_representation_that_is_not_finite(random_world, bad, table, name):
    dataset, tables = random_world
    tables[table][3, 2] = bad
    with pytest.raises(RunError, match=f"the representation of {name} 3 is not finite") as error:
        evaluate(tables, dataset, "valid")
    assert "\n" not in str(error.value)


def test_scores_that_overflow(random_world):
    dataset, (user, item) = random_world
    with pytest.raises(RunError, match=r"scores overflow torch\.float32"):
        evaluate((user * 1e20, item * 1e20), dataset, "valid")
    big = (user.double() * 1e20, item.double() * 1e20)
    assert evaluate(big, dataset, "valid") == evaluate(
        (user.double(), item.double()), dataset, "valid"
    )


def test_held_out_pair_that_is_in_training(make_dataset):
    dataset = make_dataset(2, 4, [(0, 0), (1, 1), (1, 2)], [(0, 3), (1, 2)])
    with pytest.raises(DataError, match=r"user 1 has item 2 both in train and in valid") as error:
        Evaluator(dataset, "valid")
    assert "\n" not in str(error.value)


def test_empty_split(random_world):
    class NoTest:
        name, n_users, n_items, dropped = "bare", 3, 4, {}
        train = torch.tensor([[0], [1]])

        def split(self, name):
            return torch.empty(2, 0, dtype=torch.int64)

    with pytest.raises(DataError, match="data set 'bare' has no test rows"):
        Evaluator(NoTest(), "test")


@pytest.mark.parametrize("options", [{"ks": ()}, {"ks": (0, 5)}, {"block_users": 0}])
def test_bad_options(random_world, options):
    with pytest.raises(ConfigError) as error:
        Evaluator(random_world[0], "valid", **options)
    assert "\n" not in str(error.value)


def test_progress_bar(random_world, capsys):
    dataset, tables = random_world
    evaluate(tables, dataset, "valid", block_users=10, progress=True)
    assert "evaluating" in capsys.readouterr().err
    evaluate(tables, dataset, "valid", block_users=10)
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_equals_cpu(random_world):
    dataset, (user, item) = random_world
    on_gpu = evaluate((user.cuda(), item.cuda()), dataset, "valid")
    assert on_gpu == evaluate((user, item), dataset, "valid")
