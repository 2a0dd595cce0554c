"""The masked loss, compared with loops; how often chunks are hidden; the contrast."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from crossalign.encoders import EncoderOptions, MultimodalEncoder
from crossalign.encoders.items import Items
from crossalign.encoders.objective import (
    Masks,
    contrast_of_modalities,
    draw_masks,
    masked_loss,
    mean_predictor_terms,
    pretraining_terms,
)

MSE = EncoderOptions(loss="mse")
INFONCE = EncoderOptions(loss="infonce", temperature=0.3)


def loop_mse(predicted: list[Tensor], targets: list[Tensor], scored: Tensor) -> float:
    errors = [
        (float(predicted[place][item, column]) - float(targets[place][item, column])) ** 2
        for place in range(len(targets))
        for item in range(len(scored))
        if scored[item, place]
        for column in range(targets[place].shape[1])
    ]
    return sum(errors) / len(errors)


def loop_infonce(predicted: list[Tensor], targets: list[Tensor], scored: Tensor) -> float:
    losses = []
    for place in range(len(targets)):
        rows = [item for item in range(len(scored)) if scored[item, place]]
        for item in rows:
            masses = {
                other: math.exp(
                    float(cosine_similarity(predicted[place][item], targets[place][other], dim=0))
                    / INFONCE.temperature
                )
                for other in rows
            }
            losses.append(-math.log(masses[item] / sum(masses.values())))
    return sum(losses) / len(losses)


@pytest.fixture
def chunked() -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Predictions, targets and hidden chunks of nine items; no item hides the third place."""
    rng = torch.Generator().manual_seed(1)
    predicted, targets = (
        [torch.randn(9, width, generator=rng).double() for width in (4, 3, 3)] for _ in range(2)
    )
    scored = torch.rand(9, 3, generator=rng) < 0.5
    scored[:, 2] = False
    return predicted, targets, scored


def test_masked_loss_equals_loops(chunked: tuple[list[Tensor], list[Tensor], Tensor]) -> None:
    assert masked_loss(*chunked, MSE).item() == pytest.approx(loop_mse(*chunked), rel=1e-12)
    assert masked_loss(*chunked, INFONCE).item() == pytest.approx(loop_infonce(*chunked), rel=1e-10)


@pytest.mark.parametrize("options", [MSE, INFONCE], ids=["mse", "infonce"])
def test_only_hidden_chunks_count(
    chunked: tuple[list[Tensor], list[Tensor], Tensor], options: EncoderOptions
) -> None:
    predicted, targets, scored = chunked
    before = masked_loss(predicted, targets, scored, options)
    for place in range(3):
        predicted[place][~scored[:, place]] = 1e6
    assert masked_loss(predicted, targets, scored, options) == before
    assert masked_loss(predicted, targets, torch.zeros_like(scored), options).item() == 0.0


@torch.no_grad()
def test_loss_adds_modalities_and_skips_the_missing(
    encoder: MultimodalEncoder, tables: dict[str, Tensor]
) -> None:
    """The terms of a batch, against loops over what the encoder predicts."""
    present = torch.ones(10, 2, dtype=torch.bool)
    present[6:, 1] = False
    masked = torch.rand(10, 6, generator=torch.Generator().manual_seed(2)) < 0.5
    items = Items(list(tables.values()), present)
    terms = pretraining_terms(encoder, items, Masks(masked, present))
    chunks = encoder.chunks(items.tables)
    predicted = encoder.predict(encoder(chunks, present, masked))
    assert set(terms) == {"smell/token", "smell/cls", "sound/token", "sound/cls"}
    for index, name in enumerate(("smell", "sound")):
        scored = masked[:, 3 * index : 3 * index + 3].clone()
        scored[6:] &= name == "smell"
        for route in ("token", "cls"):
            expected = loop_mse(predicted[index][route], chunks[index], scored)
            assert terms[f"{name}/{route}"].item() == pytest.approx(expected, rel=1e-12)


def test_mean_predictor_has_the_loss_of_predicting_zero(
    encoder: MultimodalEncoder, tables: dict[str, Tensor]
) -> None:
    for view, table in zip(encoder.views, tables.values(), strict=True):
        view.calibrate(table)
    present = torch.ones(10, 2, dtype=torch.bool)
    hidden = Masks(torch.ones(10, 6, dtype=torch.bool), present)
    items = Items(list(tables.values()), present)
    terms = mean_predictor_terms(encoder, items, hidden)
    assert {round(value.item(), 9) for value in terms.values()} == {1.0}
    encoder.options = replace(encoder.options, loss="infonce")
    terms = mean_predictor_terms(encoder, items, hidden)
    assert {round(value.item(), 9) for value in terms.values()} == {round(math.log(10), 9)}


def test_masks_hide_the_shares_asked_for(encoder: MultimodalEncoder) -> None:
    encoder.options = replace(encoder.options, mask_share=0.4, drop_share=0.25)
    present = torch.ones(20000, 2, dtype=torch.bool)
    present[10000:, 0] = False
    masks = draw_masks(encoder, present, torch.Generator().manual_seed(0))
    dropped = present & ~masks.visible
    assert dropped[:10000].float().mean(0).tolist() == pytest.approx([0.125, 0.125], abs=0.015)
    assert not dropped[10000:].any()  # the only modality stays
    assert masks.masked[dropped[:, encoder.owner]].all()
    shown = masks.visible[:, encoder.owner]
    assert masks.masked[shown].float().mean().item() == pytest.approx(0.4, abs=0.01)


def test_contrast_of_modalities_equals_loops(
    encoder: MultimodalEncoder, tables: dict[str, Tensor]
) -> None:
    present = torch.ones(10, 2, dtype=torch.bool)
    present[:2, 0] = present[2:4, 1] = False
    chunks = encoder.chunks(list(tables.values()))
    value = contrast_of_modalities(encoder, chunks, present, 0.2)
    alone = []
    for index in range(2):
        only = torch.zeros(10, 2, dtype=torch.bool)
        only[:, index] = True
        alone.append(encoder(chunks, only).cls)
    expected = 0.0
    for left, right in (alone, alone[::-1]):
        for item in range(4, 10):
            cosines = cosine_similarity(left[item], right[4:]) / 0.2
            expected -= cosines.log_softmax(0)[item - 4].item() / 12
    assert value.item() == pytest.approx(expected, rel=1e-9)


def test_contrast_is_a_term_where_it_is_asked_for(
    encoder: MultimodalEncoder, tables: dict[str, Tensor]
) -> None:
    encoder.options = replace(encoder.options, itc_weight=0.5)
    present = torch.ones(10, 2, dtype=torch.bool)
    items = Items(list(tables.values()), present)
    masks = draw_masks(encoder, present, torch.Generator().manual_seed(0))
    whole = contrast_of_modalities(encoder, encoder.chunks(items.tables), present, 0.07)
    assert pretraining_terms(encoder, items, masks)["itc"].item() == pytest.approx(whole.item() / 2)
