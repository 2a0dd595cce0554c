"""LIRDRec's options, against the formulas that they stand for."""

from __future__ import annotations

import pytest
import torch

DRAW = torch.Generator()


def trained_once(backbone):
    """After an epoch's beginning and a forward in training."""
    backbone.begin_epoch(DRAW)
    backbone()
    return backbone


def test_the_share_of_the_network_falls_as_released(checkerboard, registered) -> None:
    backbone = registered("lirdrec", checkerboard, decay_weight=0.95, decay_base=0.9)
    net, own = 0.95, 0.05
    for epoch in range(1, 6):
        backbone.begin_epoch(DRAW)
        net *= 0.9**epoch
        net, own = net / (net + own), own / (net + own)
        assert backbone.mixture.share().item() == pytest.approx(net, rel=1e-5)


@pytest.mark.parametrize(("copied", "is_probability"), [("probabilities", True), ("logits", False)])
def test_what_users_take_over(copied: str, is_probability: bool, checkerboard, registered) -> None:
    backbone = trained_once(registered("lirdrec", checkerboard, weight_copy=copied))
    backbone.begin_epoch(DRAW)
    sums = backbone.mixture.own.sum(1)
    assert torch.allclose(sums, torch.ones_like(sums)) == is_probability


def test_the_first_epoch_leaves_the_users_weights_alone(checkerboard, registered) -> None:
    backbone = registered("lirdrec", checkerboard)
    before = backbone.mixture.own.detach().clone()
    backbone.begin_epoch(DRAW)
    assert torch.equal(backbone.mixture.own, before)


def test_without_a_mixture_all_blocks_weigh_the_same(checkerboard, registered) -> None:
    mixed = registered("lirdrec", checkerboard).eval()
    even = registered("lirdrec", checkerboard, weight_copy="off").eval()
    even.load_state_dict(
        {k: v for k, v in mixed.state_dict().items() if not k.startswith("mixture.")}
    )
    with torch.no_grad():
        for parameter in mixed.mixture.parameters():
            parameter.zero_()
    for ours, theirs in zip(even(), mixed(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_transform_is_another_start_of_the_same_map(checkerboard, registered) -> None:
    plain = registered("lirdrec", checkerboard, transform="none")
    transformed = registered("lirdrec", checkerboard, transform="dct")
    assert not torch.allclose(plain.contents()[-1], transformed.contents()[-1])
    for ours, theirs in zip(plain.contents()[:-1], transformed.contents()[:-1], strict=True):
        assert torch.equal(ours, theirs)
