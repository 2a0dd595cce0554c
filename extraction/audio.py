"""Sounds by transformers."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .base import ENCODERS, ContentEncoder
from .libraries import from_hub, library, loading
from .media import Kind, Sound


@ENCODERS.register("transformers", paper="Wolf et al., Transformers, 2020")
class TransformersAudio(ContentEncoder):
    """Sounds by an audio model of transformers: CLAP's projection, else the mean hidden state.

    Args:
        model: name on Hugging Face, or a folder with weights and preprocessor_config.json.
    """

    reads = ("audio",)
    packages = ("transformers", "soundfile", "scipy")

    def __init__(self, *, model: str = "laion/clap-htsat-unfused") -> None:
        package = library("transformers", "transformers")
        with loading(model, from_hub(model)):
            self.extractor = package.AutoFeatureExtractor.from_pretrained(model)
            self.module = package.AutoModel.from_pretrained(model)
        self.rate = int(self.extractor.sampling_rate)

    def prepare(self, content: Sound) -> np.ndarray:
        """The waveform at the model's rate."""
        shared = gcd(content.rate, self.rate)
        up, down = self.rate // shared, content.rate // shared
        from scipy.signal import resample_poly  # a second to import

        return resample_poly(content.waveform, up, down).astype(np.float32)

    def encode(self, kind: Kind, prepared: Sequence[np.ndarray], device: torch.device) -> Tensor:
        """Sounds of one length are encoded together: padding would change the others."""
        lengths = np.array([len(waveform) for waveform in prepared])
        vectors: dict[int, Tensor] = {}
        for length in np.unique(lengths):
            rows = np.flatnonzero(lengths == length).tolist()
            batch = self.extractor(
                [prepared[row] for row in rows], sampling_rate=self.rate, return_tensors="pt"
            ).to(device)
            vectors.update(zip(rows, self._vectors(dict(batch)), strict=True))
        return torch.stack([vectors[row] for row in range(len(prepared))])

    def _vectors(self, batch: dict[str, Tensor]) -> Tensor:
        network: Any = self.module
        if not hasattr(network, "get_audio_features"):
            return network(**batch).last_hidden_state.mean(dim=1)
        projected = network.get_audio_features(**batch)
        return projected if isinstance(projected, Tensor) else projected.pooler_output

    def preprocessing(self) -> dict[str, Any]:
        """The feature extractor's settings."""
        return {key: str(value) for key, value in sorted(self.extractor.to_dict().items())}
