"""Mask, then predict: which chunks are hidden, and what their prediction costs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from ..tensors.functional import contrastive_sum, unit_rows
from .items import Items
from .multiway import MultimodalEncoder
from .options import EncoderOptions
from .tokens import ROUTES


class Masks(NamedTuple):
    """What is hidden from the encoder."""

    masked: Tensor
    """`(n, n_tokens)` bool, chunks replaced by the hidden token"""
    visible: Tensor
    """`(n, n_modalities)` bool, modalities that are shown"""


def draw_masks(encoder: MultimodalEncoder, present: Tensor, rng: torch.Generator) -> Masks:
    """Hide each chunk with probability `mask_share`, and with `drop_share` a whole modality.

    An item never loses its only modality.

    Args:
        encoder: gives the order of tokens and the shares.
        present: `(n, n_modalities)` bool, modalities that the items have.
        rng: generator on the CPU.
    """
    options = encoder.options
    n, device = len(present), present.device
    masked = torch.rand(n, len(encoder.owner), generator=rng).to(device) < options.mask_share
    lottery = torch.rand(present.shape, generator=rng).to(device).masked_fill(~present, -1.0)
    loses = torch.rand(n, 1, generator=rng).to(device) < options.drop_share
    loses = loses & (present.sum(1, keepdim=True) > 1)
    dropped = loses & (lottery == lottery.amax(1, keepdim=True))
    return Masks(masked | dropped[:, encoder.owner], present & ~dropped)


def masked_loss(
    predicted: Sequence[Tensor], targets: Sequence[Tensor], scored: Tensor, options: EncoderOptions
) -> Tensor:
    """Cost of the predictions of one modality's hidden chunks; 0 if there are none.

    `mse`: mean squared error over all their entries. `infonce`: mean over the hidden chunks of the
    cross-entropy of picking the true one, by cosine, among the chunks of the same place that are
    hidden in the batch.

    Args:
        predicted: by place, `(n, width_t)`.
        targets: by place, `(n, width_t)`; no gradient flows into them.
        scored: `(n, n_places)` bool, the hidden chunks that the items have.
        options: `loss` and `temperature` are used.
    """
    total, count = targets[0].new_zeros(()), 0
    for guess, target, rows in zip(predicted, targets, scored.unbind(1), strict=True):
        guess, target = guess[rows], target[rows].detach()
        if options.loss == "mse":
            total, count = total + (guess - target).square().sum(), count + guess.numel()
        else:
            same = torch.arange(len(guess), device=guess.device)
            heat = guess.new_tensor(options.temperature)
            total = total + contrastive_sum(unit_rows(guess), unit_rows(target), same, heat)
            count += len(guess)
    return total / max(count, 1)


def pretraining_terms(encoder: MultimodalEncoder, items: Items, masks: Masks) -> dict[str, Tensor]:
    """Named parts of the loss: `<modality>/token`, `<modality>/cls` and, if asked for, `itc`.

    AlignRec's inter-content alignment adds the masked losses of the modalities. Here each hidden
    chunk is predicted twice, from its own token and from the CLS.

    Args:
        encoder: the encoder, with its options.
        items: `n` items.
        masks: what is hidden of them.
    """
    options, chunks = encoder.options, encoder.chunks(items.tables)
    predicted = encoder.predict(encoder(chunks, masks.visible, masks.masked))
    terms = _masked_terms(encoder, predicted, chunks, items, masks)
    if options.itc_weight:
        contrast = contrast_of_modalities(encoder, chunks, items.present, options.itc_temperature)
        terms["itc"] = options.itc_weight * contrast
    return terms


def mean_predictor_terms(
    encoder: MultimodalEncoder, items: Items, masks: Masks
) -> dict[str, Tensor]:
    """The masked terms of one who always predicts the mean of the training items.

    That mean is zero after standardising, and the cosine of zero with everything is zero.
    """
    chunks = encoder.chunks(items.tables)
    zeros = [{key: [torch.zeros_like(part) for part in view] for key in ROUTES} for view in chunks]
    return _masked_terms(encoder, zeros, chunks, items, masks)


def _masked_terms(
    encoder: MultimodalEncoder,
    predicted: Sequence[dict[str, list[Tensor]]],
    chunks: Sequence[list[Tensor]],
    items: Items,
    masks: Masks,
) -> dict[str, Tensor]:
    scored = (masks.masked & items.present[:, encoder.owner]).split(encoder.lengths, dim=1)
    views = zip(encoder.modalities, predicted, chunks, scored, strict=True)
    return {
        f"{name}/{route}": masked_loss(guesses[route], targets, rows, encoder.options)
        for name, guesses, targets, rows in views
        for route in ROUTES
    }


def contrast_of_modalities(
    encoder: MultimodalEncoder,
    chunks: Sequence[list[Tensor]],
    present: Tensor,
    temperature: float,
) -> Tensor:
    """Symmetric InfoNCE between the CLS of each modality alone, mean over pairs of modalities.

    Args:
        encoder: the encoder.
        chunks: by modality, what `encoder.chunks` gives.
        present: `(n, n_modalities)` bool; a pair of modalities counts the items that have both.
        temperature: positive.
    """
    alone = torch.eye(present.shape[1], dtype=torch.bool, device=present.device)
    views = [unit_rows(encoder(chunks, present & only).cls) for only in alone]
    heat = views[0].new_tensor(temperature)
    pairs = list(combinations(range(len(views)), 2))
    total = heat.new_zeros(())
    for first, second in pairs:
        both = (present[:, first] & present[:, second]).nonzero().squeeze(1)
        left, right = views[first][both], views[second][both]
        same = torch.arange(len(both), device=both.device)
        loss = contrastive_sum(left, right, same, heat) + contrastive_sum(right, left, same, heat)
        total = total + loss / (2 * max(len(both), 1))
    return total / max(len(pairs), 1)
