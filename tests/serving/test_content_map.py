"""Vectors of items from their content: the ridge that is named, missing rows, figures."""

import pytest
import torch

from crossalign.errors import DataError
from crossalign.renewal import content_map as module
from crossalign.serving.content_map import (
    fit_content_map,
    judge_content_map,
    judge_unbought,
    ranking_auc,
)


@pytest.fixture
def linear():
    """Vectors that are a linear map of two modalities, but for a little noise."""
    rng = torch.Generator().manual_seed(0)
    features = {
        "image": 100 * torch.randn(60, 5, generator=rng),
        "text": torch.randn(60, 3, generator=rng),
    }
    weight = torch.randn(8, 4, generator=rng)
    content = torch.cat([features["image"] / 100, features["text"]], 1)
    item = content @ weight + 7 + 0.01 * torch.randn(60, 4, generator=rng)
    return item, features


def test_a_linear_world_is_found_whatever_the_scale_of_a_modality(linear) -> None:
    item, features = linear
    fitted = fit_content_map(item, features, {}, torch.arange(40))
    made = fitted({name: table[40:] for name, table in features.items()})
    torch.testing.assert_close(made, item[40:], rtol=0, atol=0.1)
    assert fitted.widths == {"image": 5, "text": 3}


def test_equals_the_normal_equations(linear) -> None:
    """`(X'X + p I)^-1 X'Y` on centred columns, each modality divided by its spread."""
    item, features = linear
    rows = torch.arange(50)
    fitted = fit_content_map(item, features, {}, rows)
    x, y = [], item[:50].double()
    for table in features.values():
        centred = table[:50].double() - table[:50].double().mean(0)
        x.append(centred / centred.square().mean().sqrt())
    x = torch.cat(x, 1)
    weight = torch.linalg.solve(
        x.T @ x + fitted.penalty * torch.eye(8).double(), x.T @ (y - y.mean(0))
    )
    made = fitted({name: table[:50] for name, table in features.items()})
    torch.testing.assert_close(made.double(), x @ weight + y.mean(0), rtol=1e-4, atol=1e-4)


def test_a_missing_row_counts_as_the_mean(linear) -> None:
    item, features = linear
    missing = {"image": torch.arange(60) % 3 == 0}
    zeroed = {**features, "image": features["image"].masked_fill(missing["image"][:, None], 0.0)}
    fitted = fit_content_map(item, zeroed, missing, torch.arange(60))
    mean = features["image"][~missing["image"]].mean(0)
    torch.testing.assert_close(fitted.centre[:5], mean)
    filled = {**features, "image": torch.where(missing["image"][:, None], mean, features["image"])}
    torch.testing.assert_close(fitted(zeroed, missing), fitted(filled))
    without = fitted({"text": features["text"]})
    torch.testing.assert_close(without, fitted({**features, "image": mean.expand(60, 5)}))
    everything = {"image": torch.ones(60).bool(), "text": torch.ones(60).bool()}
    torch.testing.assert_close(fitted(features, everything), fitted.bias.expand(60, 4))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sound": torch.zeros(2, 3)}, "give one of image, text"),
        ({"image": torch.zeros(2, 4)}, "has 4 numbers an item, but was trained with 5"),
        (None, "new items need content"),
    ],
)
def test_content_that_does_not_fit_is_refused(linear, change, says) -> None:
    fitted = fit_content_map(*linear, {}, torch.arange(60))
    with pytest.raises(DataError, match=says):
        fitted(change or {})


def test_nothing_to_learn_from_is_refused(linear) -> None:
    item, features = linear
    for given, rows in ((features, torch.arange(1)), ({}, torch.arange(60))):
        with pytest.raises(DataError, match="two trained items at least"):
            fit_content_map(item, given, {}, rows)


def test_a_large_catalogue_is_sampled(linear, monkeypatch) -> None:
    item, features = linear
    monkeypatch.setattr(module, "MOST_ROWS", 45)
    one, same, other = (
        fit_content_map(item, features, {}, torch.arange(60), seed=seed) for seed in (0, 0, 1)
    )
    assert torch.equal(one.weight, same.weight)
    assert not torch.equal(one.weight, other.weight)


def test_quality_tells_content_that_knows_from_content_that_does_not(linear) -> None:
    item, features = linear
    user = item[torch.arange(40) % 60]
    # every user has the item whose vector is theirs, and some other
    pairs = torch.stack([torch.arange(120) % 40, torch.cat([torch.arange(60), torch.arange(60)])])
    good = judge_content_map(user, item, features, {}, pairs)
    noise = {name: torch.randn_like(table) for name, table in features.items()}
    bad = judge_content_map(user, item, noise, {}, pairs)
    assert good.items == 6
    assert good.cosine > 0.99
    assert good.cosine > good.cosine_of_others
    assert good.auc == pytest.approx(good.auc_trained, abs=0.1)
    assert bad.cosine < good.cosine
    assert judge_content_map(user, item, features, {}, pairs[:, :9]) is None


def test_auc_counts_wins_and_half_of_ties() -> None:
    user = torch.tensor([[1.0], [-1.0]])
    item = torch.tensor([[1.0], [2.0], [2.0]])
    users, items = torch.tensor([0, 1, 0, 0]), torch.tensor([1, 1, 0, 1])
    assert (
        ranking_auc(user, item, users, items, torch.tensor([0, 0, 1, 2])) == (1 + 0 + 0 + 0.5) / 4
    )


def test_items_that_nobody_bought_are_judged_on_rows_that_trained_nothing() -> None:
    user = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    item = torch.tensor([[9.0, 9.0], [1.0, 0.0], [0.0, 1.0]])
    bought = torch.tensor([True, False, False])
    right, wrong = torch.tensor([[0, 0, 1], [0, 1, 2]]), torch.tensor([[0, 1, 1], [2, 1, 0]])
    assert judge_unbought(user, item, right, bought) == 1
    assert judge_unbought(user, item, wrong, bought) == 0
    assert judge_unbought(user, item, right[:, :2], bought) is None
