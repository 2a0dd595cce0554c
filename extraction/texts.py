"""Texts by sentence-transformers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .base import ENCODERS, ContentEncoder
from .libraries import from_hub, library, loading
from .media import Kind


@ENCODERS.register("sentence-transformers", paper="Reimers and Gurevych, Sentence-BERT, 2019")
class SentenceTransformers(ContentEncoder):
    """Texts by any model of sentence-transformers.

    Args:
        model: name on Hugging Face, or a folder.
        prompt: put before every text, such as `passage: ` for E5.
        max_tokens: longer texts are cut; by default where the model was made to.
    """

    reads = ("text",)
    packages = ("sentence-transformers", "transformers", "tokenizers")

    def __init__(
        self,
        *,
        model: str = "sentence-transformers/all-MiniLM-L6-v2",
        prompt: str = "",
        max_tokens: int | None = None,
    ) -> None:
        package = library("sentence_transformers", "sentence-transformers")
        with loading(model, from_hub(model)):
            self.network = package.SentenceTransformer(model, device="cpu")
            if max_tokens is not None:
                self.network.max_seq_length = max_tokens
            self.module = self.network
        self.prompt = prompt

    def encode(self, kind: Kind, prepared: Sequence[str], device: torch.device) -> Tensor:
        """Sentence vectors, as the model's own pooling has them."""
        return self.network.encode(
            [self.prompt + text for text in prepared],
            batch_size=len(prepared),
            device=str(device),
            convert_to_tensor=True,
            show_progress_bar=False,
        )

    def preprocessing(self) -> dict[str, Any]:
        """Prompt, length, tokenizer and the modules after it."""
        tokenizer = self.network.tokenizer
        known = tokenizer.backend_tokenizer.to_str() if tokenizer.is_fast else str(tokenizer)
        return {
            "prompt": self.prompt,
            "max_tokens": self.network.max_seq_length,
            "tokenizer_sha256": hashlib.sha256(known.encode()).hexdigest(),
            "modules": [type(module).__name__ for module in self.network],
        }
