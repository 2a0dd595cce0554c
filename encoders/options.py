"""How the multimodal encoder is built and pre-trained."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from ..errors import ConfigError
from ..options import STRICT, Options


@dataclass(frozen=True, config=STRICT)
class EncoderOptions(Options):
    """Options of `pretrain`."""

    section: ClassVar[str] = "encoder"

    dim: PositiveInt = 128
    """Width of the tokens and of the unified features."""

    n_layers: PositiveInt = 2
    """Transformer layers; 2 to 4."""

    n_heads: PositiveInt = 4
    """Attention heads; they divide `dim`."""

    ffn_ratio: PositiveInt = 2
    """Hidden width of the feed-forward networks, as a multiple of `dim`."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of entries set to zero behind attention and feed-forward networks, in training."""

    n_tokens: PositiveInt = 4
    """Chunks the features of each modality are cut into; 4 to 8. A modality with fewer columns has
    one chunk for each."""

    mask_share: Annotated[float, Field(gt=0, lt=1)] = 0.45
    """Share of the chunks that are hidden and to be predicted; 0.4 to 0.5."""

    drop_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of the items with several modalities that are shown without one of them, so that the
    encoder knows items with a missing modality. All chunks of that one are to be predicted."""

    loss: Literal["mse", "infonce"] = "mse"
    """What a predicted chunk is judged by: its squared error, or picking the true chunk among
    those of the batch by cosine."""

    temperature: PositiveFloat = 0.1
    """Temperature of `loss: infonce`."""

    itc_weight: NonNegativeFloat = 0.0
    """Weight of the contrast between the modalities of an item, each encoded alone; 0 turns it
    off. Not documented for AlignRec."""

    itc_temperature: PositiveFloat = 0.07
    """Temperature of that contrast."""

    epochs: PositiveInt = 60
    """Epochs at most; early stopping usually comes first."""

    batch_size: Annotated[int, Field(ge=2)] = 128
    """Items per step."""

    learning_rate: PositiveFloat = 2e-3
    """Learning rate of AdamW."""

    weight_decay: NonNegativeFloat = 0.01
    """Decoupled weight decay of AdamW."""

    valid_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the items held out for early stopping."""

    patience: Annotated[int, Field(ge=0)] = 3
    """Training stops when more than this many epochs in a row bring no lower held-out loss."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; `auto` takes a GPU if torch sees one."""

    def __post_init__(self) -> None:
        if self.dim % self.n_heads:
            raise ConfigError(
                f"encoder.n_heads is {self.n_heads}, which does not divide encoder.dim "
                f"{self.dim}: choose a divisor"
            )
