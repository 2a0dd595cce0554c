"""A multimodal encoder that makes one feature vector of an item's modalities, before training."""

from .encode import encode
from .multiway import MultimodalEncoder
from .options import EncoderOptions
from .pretrain import Pretraining, pretrain

__all__ = ["EncoderOptions", "MultimodalEncoder", "Pretraining", "encode", "pretrain"]
