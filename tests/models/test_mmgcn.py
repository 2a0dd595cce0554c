"""MMGCN with any number of modalities and with missing rows, against plain dense formulas."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import leaky_relu, normalize

from crossalign.datasets import Dataset
from crossalign.errors import ConfigError
from crossalign.models import Batch
from crossalign.models.mmgcn import MMGCN

NAMES = ("audio", "text", "image")


def dense(backbone: MMGCN, data: Dataset, adds: bool) -> Tensor:
    a = torch.zeros(data.n_users, data.n_items, dtype=torch.float64)
    a[tuple(data.train)] = 1
    ids = torch.cat([backbone.user_embedding, backbone.item_embedding])

    def mean(matrix: Tensor, x: Tensor) -> Tensor:
        return (matrix @ x) / matrix.sum(1, keepdim=True).clamp_min(1)

    total = 0
    for name in NAMES:
        branch, x = backbone.branches[name], data.features[name].double()
        there = x.any(1)
        if branch.input is not None:
            x = (x @ branch.input.weight.T + branch.input.bias) * there[:, None]
        x = torch.cat([normalize(backbone.preferences[name]), normalize(x)])
        for place, layer in enumerate(branch.layers):
            y = x @ layer.convolution.weight.T
            seen = a * there if place == 0 else a
            means = [mean(seen, y[data.n_users :]), mean(a.T, y[: data.n_users])]
            heard = leaky_relu(torch.cat(means))
            own = leaky_relu(x @ layer.own.weight.T + layer.own.bias) + ids
            both = heard if adds else torch.cat([heard, own], 1)
            mixed = both @ layer.mix.weight.T + layer.mix.bias
            x = leaky_relu(mixed + own if adds else mixed)
        total = total + x
    return total / len(NAMES)


@pytest.mark.parametrize("combine", ["concat", "add"])
def test_missing_rows_and_three_modalities_equal_dense_formulas(
    combine: str, golden_data, build
) -> None:
    data = golden_data(*NAMES)
    missing = torch.arange(data.n_items) % 4 == 0
    features = {m: data.features[m].masked_fill(missing[:, None], 0) for m in ("audio", "image")}
    features = {**data.features, **features}
    data = replace(data, features=features, missing={"audio": missing, "image": missing})
    options = {"dim": 6, "n_layers": 2, "latent_dims": {"image": 9}, "combine": combine}
    backbone = build(MMGCN, data, **options)
    found, expected = torch.cat(list(backbone())), dense(backbone, data, combine == "add")
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    weights, parameters = torch.randn_like(found), list(backbone.parameters())
    ours = torch.autograd.grad((found * weights).sum(), parameters)
    theirs = torch.autograd.grad((expected * weights).sum(), parameters)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


def test_preferences_of_all_modalities_are_regularised_unless_some_are_named(
    golden_data, build
) -> None:
    data = golden_data("text", "image")
    batch = Batch(*data.train[:, :4], data.train[1, :4])
    for named, terms in ((None, {"text", "image"}), (["image"], {"image"})):
        backbone = build(MMGCN, data, dim=8, reg_weight=0.5, reg_modalities=named)
        found = backbone.loss(batch, backbone())
        assert set(found) == {"bpr", "id_reg", *(f"preference_{name}" for name in terms)}
        expected = 0.5 * backbone.preferences["image"].square().mean()
        torch.testing.assert_close(found["preference_image"], expected)


def test_wide_features_get_an_input_layer_or_a_warning(
    golden_data, build, caplog: pytest.LogCaptureFixture
) -> None:
    data = golden_data("text")
    wide = replace(data, features={"text": torch.randn(data.n_items, 1025)})
    assert build(MMGCN, wide, dim=4).preferences["text"].shape == (data.n_users, 256)
    assert build(MMGCN, data, dim=4).preferences["text"].shape == (data.n_users, 12)
    assert not caplog.messages
    backbone = build(MMGCN, wide, dim=4, latent_dims={})
    assert backbone.preferences["text"].shape == (data.n_users, 1025)
    assert "latent_dims" in caplog.text


def test_a_weight_on_tables_that_are_not_trained_is_warned_of(
    golden_data, build, caplog: pytest.LogCaptureFixture
) -> None:
    build(MMGCN, golden_data("text"), dim=4, trainable_tables=False, reg_weight=0.0)
    assert not caplog.messages
    build(MMGCN, golden_data("text"), dim=4, trainable_tables=False, reg_weight=0.1)
    assert "reg_weight" in caplog.text


@pytest.mark.parametrize("option", ["latent_dims", "reg_modalities"])
def test_unknown_modalities_are_refused(option: str, golden_data, build) -> None:
    with pytest.raises(ConfigError, match="'sound'"):
        build(MMGCN, golden_data("text"), dim=4, **{option: {"sound": 8}})


def test_an_alignment_may_read_the_branches_of_the_step_it_is_in(golden_data, build) -> None:
    """Their names are known before the first step, and gradients of the step flow into them."""
    backbone = build(MMGCN, golden_data("text", "image"), dim=8, aligned_content="branches")
    assert not build(MMGCN, golden_data("text"), dim=8).modalities()
    assert set(backbone.modalities()) == {"text", "image"}
    backbone()
    rows = backbone.modalities()["image"][torch.tensor([3, 3, 9])]
    assert rows.shape == (3, 8)
    rows.square().sum().backward()
    assert backbone.branches["image"].layers[0].convolution.weight.grad.abs().sum() > 0
    assert backbone.branches["text"].layers[0].convolution.weight.grad is None
