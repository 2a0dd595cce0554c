"""How content is read and encoded."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from ..errors import ConfigError
from ..options import STRICT, Options
from .media import Limits


@dataclass(frozen=True, config=STRICT)
class ExtractOptions(Options):
    """Options of `extract` that hold for every encoder."""

    section: ClassVar[str] = "extract"

    batch_size: int = Field(default=64, ge=1)
    """Inputs encoded at a time."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to encode; `auto` takes a GPU where torch sees one."""

    half: bool = False
    """Encode in 16 bits: float16 on a GPU, bfloat16 on a CPU. Features are written in 32."""

    workers: int = Field(default=4, ge=1)
    """Threads that read and prepare the next batch while one is encoded."""

    max_pixels: int = Field(default=64_000_000, ge=1)
    """Images with more pixels count as unreadable, and are never decoded."""

    max_seconds: float = Field(default=30.0, gt=0, le=3600)
    """Sounds are cut after this time."""

    def torch_device(self) -> torch.device:
        """The device to encode on. Raises `ConfigError` for `cuda` without a GPU."""
        available = torch.cuda.is_available()
        if self.device == "cuda" and not available:
            raise ConfigError("device is 'cuda', but torch sees no GPU: choose cpu or auto")
        return torch.device("cuda" if available and self.device != "cpu" else "cpu")

    def limits(self) -> Limits:
        """What one input may cost."""
        return Limits(self.max_pixels, self.max_seconds)
