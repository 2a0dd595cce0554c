"""What an encoder of content is, and the registry that knows them by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..registry import Registry
from .libraries import versions, weights_hash
from .media import Kind

ENCODERS: Registry[ContentEncoder] = Registry("encoder")
"""Encoders of texts, images and sounds by name. Their libraries are imported when one is made."""

DEFAULT_ENCODERS: dict[Kind, str] = {
    "text": "sentence-transformers",
    "image": "timm",
    "audio": "transformers",
}


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


def make_encoder(name: str, options: Mapping[str, Any], kind: Kind) -> ContentEncoder:
    """The encoder called `name`, its weights loaded.

    Args:
        name: a name in `ENCODERS`, or `module:callable` for one's own (see `own.OwnEncoder`).
        options: keyword arguments of its constructor.
        kind: what it has to read.

    Raises:
        ConfigError: there is no such encoder, it reads other content, its library is not
            installed, or its weights are not there; the message says how to get them.
    """
    if ":" in name:
        from .own import OwnEncoder

        return OwnEncoder(name, options)
    cls = ENCODERS[name].cls
    if kind not in cls.reads:
        able = [known for known in ENCODERS.names() if kind in ENCODERS[known].cls.reads]
        raise ConfigError(
            f"encoder '{name}' reads {' and '.join(cls.reads)}, not {kind}: choose from "
            f"{', '.join(able)}, or module:callable"
        )
    return cls(**options)
