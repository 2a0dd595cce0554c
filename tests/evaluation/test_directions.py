"""Agreement of directions with the truth counts what it says."""

from __future__ import annotations

import math

import torch

from crossalign.evaluation import direction_agreement


def test_agreement_counts_right_wrong_and_undecided_items() -> None:
    # Items: right, wrong, both ways, no direction, right.
    truth = torch.tensor([0, 0, 0, 0, 1])
    directions = {
        "text_to_image": torch.tensor([True, False, True, False, False]),
        "image_to_text": torch.tensor([False, True, True, False, True]),
    }
    found = direction_agreement(directions, ("image", "text"), truth)
    assert (found.items, found.decided, found.agreed) == (4, 3, 2)
    assert found.share == 2 / 3


def test_nothing_decided_gives_no_share() -> None:
    none = torch.zeros(3, dtype=torch.bool)
    directions = {"a_to_b": none, "b_to_a": none}
    found = direction_agreement(directions, ("a", "b"), torch.tensor([0, 1, 0]))
    assert math.isnan(found.share)
