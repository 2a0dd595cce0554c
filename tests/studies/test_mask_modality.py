"""The mask-modality protocol: one run a ratio, the same items at every higher ratio."""

from __future__ import annotations

import torch

from crossalign.config import load_config
from crossalign.datasets import load_dataset
from crossalign.studies.mask_modality import mask_methods

SMALL = ["data.planted_users=150", "data.planted_items=100"]


def test_there_is_one_method_for_each_ratio_compared_with_the_first() -> None:
    methods = mask_methods(load_config(None, SMALL, backbone="freedom"))
    assert [method.config.data.mask_ratio for method in methods] == [0, 0.1, 0.3, 0.5, 0.7, 0.9]
    assert [method.base for method in methods] == [None] + 5 * ["mask_ratio=0.0"]
    assert not any(method.config.data.item_graphs for method in methods)


def test_masked_rows_are_nested_across_the_runs_whatever_the_recommender() -> None:
    masks = []
    for backbone in ("freedom", "vbpr"):
        methods = mask_methods(load_config(None, SMALL, backbone=backbone), [0.3, 0.7])
        masks += [load_dataset("planted", options=m.config.data).missing for m in methods]
    less, more, *others = masks
    assert all(torch.equal(less[name], others[0][name]) for name in less)
    assert all(torch.equal(more[name], others[1][name]) for name in more)
    assert all((less[name] & ~more[name]).sum() == 0 for name in less)
    assert sum(int(mask.sum()) for mask in more.values()) == 70
