"""The planted data set is what it says: seeded, long-tailed, noisy, with a truth that holds."""

import numpy as np
import pytest
import torch

from crossalign.datasets import DataError, DataOptions, load_dataset, planted
from crossalign.datasets.planted import MODALITIES


@pytest.fixture(scope="module")
def data():
    return planted()


def tensors(data):
    return (data.train, data.valid, data.test, *data.features.values(), data.truth)


def test_a_seed_fixes_everything():
    one, same, other = (planted(200, 100, seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(same), strict=True))
    assert not torch.equal(one.features["image"], other.features["image"])
    assert one.train.tolist() != other.train.tolist()


def test_split_seed_changes_the_split_alone():
    one, other = (planted(200, 100, split_seed=seed) for seed in (1, 2))
    assert one.train.tolist() != other.train.tolist()
    assert torch.equal(one.features["text"], other.features["text"])

    def everything(data):
        rows = torch.cat([data.train, data.valid, data.test], 1).T
        return set(map(tuple, rows.tolist()))

    assert everything(one) == everything(other)


def test_generation_does_not_touch_global_random_numbers():
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    planted(50, 40)
    assert (np.random.get_state()[1] == before[0]).all()  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])


def test_shapes_and_long_tail(data):
    assert {name: table.shape[1] for name, table in data.features.items()} == MODALITIES
    users = torch.bincount(torch.cat([data.train, data.valid, data.test], 1)[0])
    assert users.min() >= 5
    degree = torch.bincount(data.train[1], minlength=data.n_items).sort(descending=True).values
    top_tenth = degree[: data.n_items // 10].sum() / degree.sum()
    assert 0.3 < top_tenth < 0.7
    assert degree.median() <= 10


def test_truth_is_balanced(data):
    share = data.truth.double().mean()
    assert 0.4 < share < 0.6


def _ridge_cosine(table, target, trained):
    """Cosine of each item's `target` with what one linear map, fitted to all, makes of it."""
    rows = torch.cat([table.double(), torch.ones(len(table), 1, dtype=torch.float64)], 1)
    fit = rows[trained]
    gram = fit.T @ fit + 10 * torch.eye(rows.shape[1], dtype=torch.float64)
    predicted = rows @ torch.linalg.solve(gram, fit.T @ target[trained])
    return torch.nn.functional.cosine_similarity(predicted, target)


def test_taste_is_recoverable_from_the_carrying_modality_by_one_linear_map(data):
    """Item vectors from the training matrix alone; no knowledge of how the data were made."""
    matrix = torch.zeros(data.n_users, data.n_items, dtype=torch.float64)
    matrix[data.train[0], data.train[1]] = 1
    degree = matrix.sum(0)
    scaled = matrix / matrix.sum(1, keepdim=True).clamp(min=1).sqrt() / degree.clamp(min=1).sqrt()
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(data.n_items, 40, dtype=torch.float64, generator=generator)
    for _ in range(8):  # block power iteration: the leading singular vectors
        basis = torch.linalg.qr(scaled.T @ (scaled @ basis)).Q
    user = torch.nn.functional.normalize(scaled @ basis, dim=1)
    target = (matrix.T @ user) / degree.clamp(min=1)[:, None]
    trained = degree > 0
    cosine = torch.stack(
        [_ridge_cosine(table, target, trained) for table in data.features.values()]
    )
    agrees = cosine.argmax(0) == data.truth
    assert agrees[trained].double().mean() > 0.8
    assert agrees[degree >= 5].double().mean() > 0.9
    for index in range(2):
        carries = trained & (data.truth == index)
        assert cosine[index, carries].mean() > cosine[1 - index, carries].mean() + 0.15


def test_it_is_the_built_in_data_set():
    options = DataOptions(planted_users=60, planted_items=40, planted_seed=3, split_seed=5)
    loaded = load_dataset("planted", options=options)
    made = planted(60, 40, seed=3, split_seed=5)
    assert all(torch.equal(a, b) for a, b in zip(tensors(loaded), tensors(made), strict=True))


def test_modalities_can_be_chosen_but_the_truth_needs_both():
    data = load_dataset("planted", options=DataOptions(planted_users=60, modalities=("text",)))
    assert data.modalities == ("text",)
    assert data.truth is None
    with pytest.raises(DataError, match="no modality 'audio'"):
        load_dataset("planted", options=DataOptions(modalities=("audio",)))


def test_smallest_size_the_options_allow_works():
    data = load_dataset("planted", options=DataOptions(planted_users=10, planted_items=20))
    assert (data.n_users, data.n_items) == (10, 20)
