"""Images by timm, images and texts in one space by open_clip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .base import ENCODERS, ContentEncoder
from .libraries import from_hub, library, loading
from .media import Kind

IMAGES = "extract-images"
"""The extra that brings the libraries."""


@ENCODERS.register("timm", paper="Wightman, PyTorch Image Models, 2019")
class Timm(ContentEncoder):
    """Images by any model of timm: its pooled features before the classifier.

    Args:
        model: name in timm, or a folder with config.json and weights.
        checkpoint: file of weights to load into the model; by default its pretrained ones.
    """

    reads = ("image",)
    packages = ("timm", "torchvision", "pillow")

    def __init__(self, *, model: str = "resnet50.a1_in1k", checkpoint: str | None = None) -> None:
        timm, data = (library(name, "timm", IMAGES) for name in ("timm", "timm.data"))
        with loading(checkpoint or model, from_hub(checkpoint or f"timm/{model}")):
            network: Any = timm.create_model(
                f"local-dir:{model}" if Path(model).is_dir() else model,
                pretrained=checkpoint is None,
                checkpoint_path=checkpoint or "",
            )
            network.reset_classifier(0)  # afterwards: a checkpoint may bring a classifier
            self.module = network
        self.settings = data.resolve_model_data_config(self.module)
        self.transform = data.create_transform(**self.settings, is_training=False)

    def prepare(self, content: Any) -> Tensor:
        """Resized, cropped and normalised as the model was validated."""
        return self.transform(content)

    def encode(self, kind: Kind, prepared: Sequence[Tensor], device: torch.device) -> Tensor:
        """Pooled features."""
        return self.module(torch.stack(list(prepared)).to(device))

    def preprocessing(self) -> dict[str, Any]:
        """Timm's own settings: size, interpolation, mean, deviation, crop."""
        return {key: str(value) for key, value in sorted(self.settings.items())}


@ENCODERS.register("open-clip", paper="Cherti et al., OpenCLIP, 2023")
class OpenClip(ContentEncoder):
    """Images and texts in one space, by any CLIP of open_clip.

    Args:
        model: architecture in open_clip, or a folder with open_clip_config.json and weights.
        pretrained: tag of its weights in open_clip, or a file; of no use for a folder.
    """

    reads = ("image", "text")
    packages = ("open_clip_torch", "torchvision", "pillow")

    def __init__(self, *, model: str = "ViT-B-32", pretrained: str = "laion2b_s34b_b79k") -> None:
        clip = library("open_clip", "open_clip_torch", IMAGES)
        folder = Path(model).is_dir()
        name = f"local-dir:{Path(model).resolve()}" if folder else model
        fetch = (
            "check that the folder is whole"
            if folder
            else "give a file as `pretrained` or a folder as `model`; where there is network, "
            "`open_clip.list_pretrained()` names what can be fetched"
        )
        with loading(model if folder else f"{model}/{pretrained}", fetch):
            self.module, _, self.transform = clip.create_model_and_transforms(
                name, pretrained=None if folder else pretrained
            )
            self.tokenizer = clip.get_tokenizer(name)

    def prepare(self, content: Any) -> Any:
        """An image as CLIP was validated; a text as tokens `(context,)`."""
        if isinstance(content, str):
            return self.tokenizer([content])[0]
        return self.transform(content)

    def encode(self, kind: Kind, prepared: Sequence[Tensor], device: torch.device) -> Tensor:
        """Projections into the shared space."""
        batch = torch.stack(list(prepared)).to(device)
        network: Any = self.module
        return network.encode_text(batch) if kind == "text" else network.encode_image(batch)

    def preprocessing(self) -> dict[str, Any]:
        """The image transform and the tokenizer."""
        return {
            "image": " ".join(str(self.transform).split()),
            "tokenizer": type(self.tokenizer).__name__,
            "max_tokens": getattr(self.tokenizer, "context_length", None),
        }
