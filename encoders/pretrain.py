"""Pre-train the encoder on the features of items, without their interactions."""

from __future__ import annotations

import copy
import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import DataError, RunError
from ..progress import Bar
from ..training.options import TrainingOptions
from ..training.seeding import generator, seed_everything
from .items import Items, gather_items
from .multiway import MultimodalEncoder
from .objective import Masks, draw_masks, mean_predictor_terms, pretraining_terms
from .options import EncoderOptions

Terms = Callable[[MultimodalEncoder, Items, Masks], dict[str, Tensor]]


@dataclass(frozen=True)
class Pretraining:
    """A pre-trained encoder, and what was seen on the held-out items.

    Attributes:
        encoder: with the weights of `best_epoch`, in evaluation mode, on the CPU.
        history: one row per epoch: `epoch`, `loss` (mean over steps) and `valid_loss`.
        best_epoch: epoch with the lowest held-out loss, counted from 1.
        held_out: its held-out loss by term (see `pretraining_terms`).
        mean_predictor: the masked terms of one who always predicts the mean.
        n_held_out: number of held-out items.
        seconds: wall-clock time.
    """

    encoder: MultimodalEncoder
    history: list[dict[str, Any]]
    best_epoch: int
    held_out: dict[str, float]
    mean_predictor: dict[str, float]
    n_held_out: int
    seconds: float


def pretrain(
    features: Mapping[str, Tensor],
    missing: Mapping[str, Tensor] | None = None,
    options: EncoderOptions | None = None,
    *,
    seed: int = 0,
    progress: bool = True,
) -> Pretraining:
    """Train an encoder on `features` by mask-then-predict.

    It computes in float64 if any table does, else in float32.

    Args:
        features: modality name -> `(n_items, width)`, as in `Dataset.features`.
        missing: modality name -> `(n_items,)` bool, as in `Dataset.missing`.
        options: None takes the defaults.
        seed: seed of initialisation, held-out items, batches, masks and dropout.
        progress: show a bar over epochs.

    Raises:
        DataError: there are no features, or fewer than two items have any.
        RunError: the loss is not finite.
    """
    options = options or EncoderOptions()
    if not features:
        raise DataError("no features to encode: add <modality>_feat.npy files or data.features")
    started = time.perf_counter()
    seed_everything(seed)
    doubles = any(table.dtype == torch.float64 for table in features.values())
    dtype = torch.float64 if doubles else torch.float32
    widths = {name: table.shape[1] for name, table in features.items()}
    items = gather_items(widths, features, missing, dtype=dtype)
    train, valid = _split(items.present, options.valid_share, generator(seed, "encoder split"))
    encoder = MultimodalEncoder(widths, options).to(dtype)
    for index, view in enumerate(encoder.views):
        view.calibrate(items.tables[index][train[items.present[train, index]]])

    device = TrainingOptions(device=options.device).torch_device()
    trainer = _Trainer(encoder.to(device), items, train, valid, seed)
    history, best_epoch = trainer.run(progress)
    return Pretraining(
        encoder=encoder.cpu().eval(),
        history=history,
        best_epoch=best_epoch,
        held_out=trainer.held_out(pretraining_terms),
        mean_predictor=trainer.held_out(mean_predictor_terms),
        n_held_out=len(valid),
        seconds=time.perf_counter() - started,
    )


def _split(present: Tensor, valid_share: float, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Ids of training and held-out items, drawn from those that have any modality."""
    known = present.any(1).nonzero().squeeze(1)
    if len(known) < 2:
        raise DataError(
            f"{len(known)} item(s) with features: the encoder needs two at least, one to hold out"
        )
    known = known[torch.randperm(len(known), generator=rng)]
    n_valid = min(max(round(len(known) * valid_share), 1), len(known) - 1)
    return known[n_valid:], known[:n_valid]


class _Trainer:
    """The training loop of one encoder."""

    def __init__(
        self, encoder: MultimodalEncoder, items: Items, train: Tensor, valid: Tensor, seed: int
    ) -> None:
        self.encoder = encoder
        self.items = items
        self.train = train
        self.valid = valid
        self.seed = seed
        self.device = encoder.cls_token.device
        self.options = encoder.options
        self.rng = generator(seed, "encoder batches")
        self.optimizer = torch.optim.AdamW(
            encoder.parameters(),
            lr=self.options.learning_rate,
            weight_decay=self.options.weight_decay,
        )

    def run(self, progress: bool) -> tuple[list[dict[str, Any]], int]:
        """Train until the held-out loss stops falling; leaves the best weights in the encoder.

        Returns:
            The history and the best epoch.
        """
        history: list[dict[str, Any]] = []
        best_loss, best_epoch, best_weights = math.inf, 0, self.encoder.state_dict()
        bar = Bar(
            range(1, self.options.epochs + 1),
            unit="epoch",
            dynamic_ncols=True,
            disable=not progress,
        )
        for epoch in bar:
            loss = self.epoch()
            valid_loss = math.fsum(self.held_out(pretraining_terms).values())
            if not math.isfinite(loss + valid_loss):
                raise RunError(
                    f"pre-training broke off in epoch {epoch}: the loss is not finite; lower "
                    "encoder.learning_rate"
                )
            history.append({"epoch": epoch, "loss": loss, "valid_loss": valid_loss})
            if valid_loss < best_loss:
                best_loss, best_epoch = valid_loss, epoch
                best_weights = copy.deepcopy(self.encoder.state_dict())
            bar.set_postfix(valid=f"{valid_loss:.4f}", best=f"{best_loss:.4f}")
            if epoch - best_epoch > self.options.patience:
                break
        self.encoder.load_state_dict(best_weights)
        return history, best_epoch

    def epoch(self) -> float:
        """One step per batch; mean loss of the steps."""
        self.encoder.train()
        losses = []
        order = self.train[torch.randperm(len(self.train), generator=self.rng)]
        for ids in order.split(self.options.batch_size):
            items = self.items.take(ids, self.device)
            masks = draw_masks(self.encoder, items.present, self.rng)
            terms = pretraining_terms(self.encoder, items, masks)
            loss = torch.stack(list(terms.values())).sum()
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            losses.append(loss.detach())
        return float(torch.stack(losses).mean())

    @torch.no_grad()
    def held_out(self, terms_of: Terms) -> dict[str, float]:
        """Mean of each term over the held-out items, with the same masks at every call."""
        self.encoder.eval()
        rng = generator(self.seed, "encoder held-out masks")
        sums: dict[str, float] = defaultdict(float)
        for ids in self.valid.split(self.options.batch_size):
            items = self.items.take(ids, self.device)
            masks = draw_masks(self.encoder, items.present, rng)
            for name, value in terms_of(self.encoder, items, masks).items():
                sums[name] += float(value) * len(ids) / len(self.valid)
        return dict(sums)
