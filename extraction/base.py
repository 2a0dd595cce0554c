"""What an encoder of content is, and the registry that knows them by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..registry import Registry
from .libraries import versions, weights_hash
from .media import Kind

ENCODERS: Registry[ContentEncoder] = Registry("encoder")
"""Encoders of texts, images and sounds by name. Their libraries are imported when one is made."""


class ContentEncoder(ABC):
    """Turns content into vectors. Frozen: nothing here is ever trained.

    A new one is a class with `@ENCODERS.register(...)`, whose constructor takes keyword arguments
    with defaults and loads `module`.
    """

    reads: ClassVar[tuple[Kind, ...]]
    """Kinds of content that it takes; those of one encoder share a space."""
    packages: ClassVar[tuple[str, ...]] = ()
    """What pip calls the libraries that it uses; their versions are written beside the features."""
    module: nn.Module
    """The network."""

    def to(self, device: torch.device) -> None:
        """Move the network to `device`, ready to encode."""
        self.module.to(device).eval()

    def prepare(self, content: Any) -> Any:
        """What `encode` takes, of one input. Runs in threads; may raise anything for bad content.

        Args:
            content: a `str`, a PIL image in RGB or a `Sound` (see `media.read_source`).
        """
        return content

    @abstractmethod
    def encode(self, kind: Kind, prepared: Sequence[Any], device: torch.device) -> Tensor:
        """Vectors `(n, dim)` of `n` prepared inputs, on any device and in any precision.

        A vector does not depend on what else is in the batch, up to rounding.
        """

    @abstractmethod
    def preprocessing(self) -> dict[str, Any]:
        """All that decides, beside the weights, what an input turns into; plain values."""

    def weights(self) -> str | None:
        """SHA-256 of the weights, if it has any."""
        return weights_hash(self.module) if self.module.state_dict() else None

    def versions(self) -> dict[str, str]:
        """Versions of the libraries that encode."""
        return versions(("torch", "numpy", *self.packages))
