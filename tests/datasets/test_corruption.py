"""Corruptions change what they say, from clean data, the same and more at higher ratios."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch

from crossalign.datasets import DataOptions, Dataset, ItemGraph, load_dataset
from crossalign.datasets.corruption import lose_content, swap_content
from crossalign.errors import ConfigError
from crossalign.graphs import dataset_hash

PLANTED = {"planted_users": 60, "planted_items": 40}
RATIOS = (0.05, 0.1, 0.2, 0.5)


def planted(**options: object) -> Dataset:
    return load_dataset("planted", options=DataOptions(**PLANTED, **options))


def corrupted(kind: str, ratio: float, **options: object) -> Dataset:
    return planted(corruption=kind, corruption_ratio=ratio, **options)


def changed_rows(data: Dataset, clean: Dataset, modality: str) -> set[int]:
    differs = (data.features[modality] != clean.features[modality]).any(dim=1)
    return set(differs.nonzero().squeeze(1).tolist())


def pairs(data: Dataset, split: str = "train") -> set[tuple[int, ...]]:
    return set(map(tuple, data.split(split).T.tolist()))


@pytest.mark.parametrize("kind", ["missing_content", "noisy_content"])
def test_rows_change_in_each_modality_and_grow_with_the_ratio(kind: str) -> None:
    clean = planted()
    for modality in clean.modalities:
        rows = [changed_rows(corrupted(kind, ratio), clean, modality) for ratio in RATIOS]
        assert [len(ours) for ours in rows] == [2, 4, 8, 20]
        assert all(less < more for less, more in itertools.pairwise(rows))
    data = corrupted(kind, 0.5)
    assert changed_rows(data, clean, "image") != changed_rows(data, clean, "text")
    assert pairs(data) == pairs(clean)


def test_lost_rows_are_the_mean_of_the_others_zeros_or_missing() -> None:
    clean = planted()
    by_fill = {f: corrupted("missing_content", 0.2, corruption_fill=f) for f in FILLS}
    lost = sorted(changed_rows(by_fill["mean"], clean, "image"))
    rest = [item for item in range(40) if item not in lost]
    mean = sum(clean.features["image"][item] for item in rest) / len(rest)
    for item in lost:
        torch.testing.assert_close(by_fill["mean"].features["image"][item], mean)
        assert not by_fill["zeros"].features["image"][item].any()
    assert by_fill["mean"].missing == by_fill["zeros"].missing == {}
    assert by_fill["missing"].missing["image"].nonzero().squeeze(1).tolist() == lost


FILLS = ("mean", "zeros", "missing")


def test_noisy_rows_are_the_clean_rows_of_other_items_at_every_ratio() -> None:
    """Noise does not pile up: every row there is stood in the clean table."""
    clean = planted()
    table = clean.features["text"]
    before: dict[int, int] = {}
    for ratio in RATIOS:
        data = corrupted("noisy_content", ratio)
        now = {}
        for item in changed_rows(data, clean, "text"):
            (source,) = (table == data.features["text"][item]).all(dim=1).nonzero()[0].tolist()
            now[item] = source
        assert before.items() <= now.items()
        assert all(item != source for item, source in now.items())
        before = now


def test_added_pairs_are_new_to_the_user_and_nested() -> None:
    clean = planted()
    known = pairs(clean) | pairs(clean, "valid") | pairs(clean, "test")
    added: set[tuple[int, ...]] = set()
    for ratio in RATIOS:
        data = corrupted("added_feedback", ratio)
        more = pairs(data) - pairs(clean)
        assert pairs(clean) <= pairs(data)
        assert len(more) == round(ratio * clean.train.shape[1])
        assert not more & known
        assert added <= more
        added = more
        assert torch.equal(data.test, clean.test)
        assert torch.equal(data.truth, clean.truth)


def test_deleted_pairs_are_nested_and_leave_every_user_one() -> None:
    clean = planted()
    users = set(clean.train[0].tolist())
    left = pairs(clean)
    for ratio in RATIOS:
        data = corrupted("deleted_feedback", ratio)
        assert pairs(data) <= left
        assert len(pairs(data)) == clean.train.shape[1] - round(ratio * clean.train.shape[1])
        assert set(data.train[0].tolist()) == users
        left = pairs(data)


@pytest.mark.parametrize(
    "kind", ["missing_content", "noisy_content", "added_feedback", "deleted_feedback"]
)
def test_a_seed_fixes_a_corruption_and_ratio_zero_is_clean(kind: str) -> None:
    """The hash by which graphs are cached tells them apart."""
    hashes = [dataset_hash(corrupted(kind, 0.2, corruption_seed=seed)) for seed in (1, 1, 2)]
    assert hashes[0] == hashes[1] != hashes[2]
    clean = dataset_hash(planted())
    assert dataset_hash(corrupted(kind, 0.0)) == clean
    assert clean not in hashes


@pytest.mark.parametrize("change", [lose_content, swap_content])
def test_rows_that_were_missing_take_no_part(change) -> None:
    clean = planted()
    gone = torch.arange(40) % 4 == 0
    text = clean.features["text"].masked_fill(gone.unsqueeze(1), 0.0)
    graph = ItemGraph(torch.tensor([[0, 1], [1, 0]]), torch.ones(2))
    data = replace(
        clean,
        features={"text": text},
        missing={"text": gone},
        item_graphs={"text": graph},
        truth=None,
    )
    changed = change(data, 0.5, 0)
    assert len(changed_rows(changed, data, "text")) == 15
    assert not changed.features["text"][gone].any()
    assert torch.equal(changed.missing["text"], gone)
    assert changed.item_graphs == {}


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        ({"corruption_ratio": 0.1}, "no effect without data.corruption"),
        ({"corruption": "noisy_content", "corruption_fill": "zeros"}, "belongs to"),
        ({"corruption": "deleted_feedback", "corruption_ratio": 0.9}, "every user keeps one"),
        (
            {"corruption": "noisy_content", "corruption_ratio": 0.1, "modalities": ()},
            "has no features",
        ),
        ({"corruption": "noise"}, "data.corruption"),
        ({"corruption_ratio": 1.0}, "data.corruption_ratio"),
    ],
)
def test_nonsense_is_refused_in_one_line(options: dict, fragment: str) -> None:
    with pytest.raises(ConfigError, match=fragment) as error:
        planted(**options)
    assert "\n" not in str(error.value)
