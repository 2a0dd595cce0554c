"""Content controls break the link of items and content and nothing else; masks are nested."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from crossalign.datasets import DataError, DataOptions, Dataset, ItemGraph, load_dataset
from crossalign.datasets.controls import control_content, lost_modality, mask_content
from crossalign.errors import ConfigError

PLANTED = {"planted_users": 60, "planted_items": 40}


def with_missing() -> Dataset:
    """Planted data in which every third item lacks its text, with a ready graph."""
    data = load_dataset("planted", options=DataOptions(**PLANTED))
    mask = torch.arange(data.n_items) % 3 == 0
    text = data.features["text"].masked_fill(mask.unsqueeze(1), 0.0)
    graph = ItemGraph(torch.tensor([[0, 1], [1, 0]]), torch.ones(2))
    return replace(
        data,
        features={**data.features, "text": text},
        missing={"text": mask},
        item_graphs={"image": graph},
    )


def planted(**options: object) -> Dataset:
    return load_dataset("planted", options=DataOptions(**PLANTED, **options))


@pytest.mark.parametrize("content", ["shuffled", "constant", "random"])
def test_interactions_stay_and_graphs_and_truth_go(content: str) -> None:
    data = with_missing()
    changed = control_content(data, content, 0)
    assert torch.equal(changed.train, data.train)
    assert changed.modalities == data.modalities
    assert changed.item_graphs == {}
    assert changed.truth is None
    assert any(content in note for note in changed.notes)


def test_shuffling_permutes_rows_with_their_masks_and_each_modality_on_its_own() -> None:
    data = with_missing()
    numbered = {"image": torch.arange(40.0)[:, None] + 1, "text": torch.arange(40.0)[:, None] + 1}
    numbered["text"][data.missing["text"]] = 0
    changed = control_content(replace(data, features=numbered), "shuffled", 0)
    image, text = (changed.features[name][:, 0] for name in ("image", "text"))
    assert sorted(image.tolist()) == sorted(numbered["image"][:, 0].tolist())
    assert sorted(text.tolist()) == sorted(numbered["text"][:, 0].tolist())
    assert torch.equal(changed.missing["text"], text == 0)
    assert (image == torch.arange(40.0) + 1).sum() < 8  # items lost their content
    assert (image == text).sum() < 8  # and image and text are not of one item any more


def test_constant_content_is_the_mean_of_the_rows_there_are() -> None:
    data = with_missing()
    changed = control_content(data, "constant", 0)
    mask = data.missing["text"]
    mean = torch.stack(
        [row for row, gone in zip(data.features["text"], mask, strict=True) if not gone]
    )
    torch.testing.assert_close(changed.features["text"][~mask], mean.mean(0).expand(26, -1))
    assert torch.equal(changed.missing["text"], mask)


def test_random_content_has_the_means_and_deviations_of_the_columns() -> None:
    data = load_dataset("planted", options=DataOptions(planted_users=60, planted_items=4000))
    real = 3 * data.features["text"] + 1
    made = control_content(replace(data, features={"text": real}, truth=None), "random", 0)
    table = made.features["text"]
    torch.testing.assert_close(table.mean(0), real.mean(0), atol=0.3, rtol=0)
    torch.testing.assert_close(table.std(0), real.std(0), atol=0.2, rtol=0)
    assert table.unique(dim=0).shape[0] == 4000


def test_a_seed_fixes_the_control() -> None:
    one, same, other = (planted(content="random", content_seed=s) for s in (1, 1, 2))
    assert torch.equal(one.features["image"], same.features["image"])
    assert not torch.equal(one.features["image"], other.features["image"])


def test_masked_items_are_nested_across_ratios_and_lose_one_modality_each() -> None:
    ratios = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
    lost = [lost_modality(200, ratio, 2, seed=7) for ratio in ratios]
    for ratio, now in zip(ratios, lost, strict=True):
        assert (now >= 0).sum() == round(ratio * 200)
    for less, more in itertools.pairwise(lost):
        masked = less >= 0
        assert torch.equal(less[masked], more[masked])
    assert set(lost[-1].tolist()) == {-1, 0, 1}


def test_masked_rows_are_missing_or_zeros_that_count() -> None:
    real = planted()
    for zeros in (False, True):
        data = planted(mask_ratio=0.5, mask_seed=3, mask_zeros=zeros)
        lost = lost_modality(40, 0.5, 2, 3)
        for index, name in enumerate(data.modalities):
            gone = lost == index
            assert (data.features[name][gone] == 0).all()
            assert torch.equal(data.features[name][~gone], real.features[name][~gone])
            assert zeros == (name not in data.missing)
            if not zeros:
                assert torch.equal(data.missing[name], gone)


def test_rows_that_were_missing_stay_missing() -> None:
    data = with_missing()
    masked = mask_content(data, 0.2, 0)
    assert (masked.missing["text"] & data.missing["text"]).sum() == data.missing["text"].sum()


def test_one_modality_cannot_be_masked_away() -> None:
    with pytest.raises(ConfigError, match="load two, or give mask_features"):
        planted(mask_ratio=0.5, modalities=("text",))


def write_variants(folder: Path, *names: str, width: int = 48) -> None:
    for value, name in enumerate(names, start=1):
        np.save(folder / f"text_without_{name}.npy", np.full((40, width), value, np.float32))


def test_masked_items_of_unified_features_take_their_encoded_rows(tmp_path: Path) -> None:
    write_variants(tmp_path, "image", "title")
    options = {"modalities": ("text",), "mask_features": str(tmp_path), "mask_seed": 1}
    data, real = planted(mask_ratio=0.6, **options), planted(modalities=("text",))
    lost = lost_modality(40, 0.6, 2, 1)
    for item in range(40):
        want = (
            real.features["text"][item] if lost[item] < 0 else torch.full((48,), lost[item] + 1.0)
        )
        assert torch.equal(data.features["text"][item], want)
    assert data.missing == {}


def test_missing_and_misshapen_files_of_unified_features_are_named(tmp_path: Path) -> None:
    options = {"mask_ratio": 0.5, "mask_features": str(tmp_path), "modalities": ("text",)}
    with pytest.raises(DataError, match=r"0 file\(s\) text_without_<lost>.npy"):
        planted(**options)
    write_variants(tmp_path, "image", "title", width=3)
    with pytest.raises(DataError, match=r"shape \(40, 3\)"):
        planted(**options)


def test_controls_without_content_are_refused() -> None:
    with pytest.raises(ConfigError, match="has no features"):
        planted(content="shuffled", modalities=())
