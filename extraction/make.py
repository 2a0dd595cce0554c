"""An encoder by its name, or the one that a features' JSON names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..fileio import read_json
from .base import ENCODERS, ContentEncoder
from .media import Kind
from .own import OwnEncoder

DEFAULT_ENCODERS: dict[Kind, str] = {
    "text": "sentence-transformers",
    "image": "timm",
    "audio": "transformers",
}


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
        return OwnEncoder(name, options)
    cls = ENCODERS[name].cls
    if kind not in cls.reads:
        able = [known for known in ENCODERS.names() if kind in ENCODERS[known].cls.reads]
        raise ConfigError(
            f"encoder '{name}' reads {' and '.join(cls.reads)}, not {kind}: choose from "
            f"{', '.join(able)}, or module:callable"
        )
    return cls(**options)


def record_encoder(record_file: Path) -> ContentEncoder:
    """Load the encoder that made the features beside `record_file`.

    Raises:
        ConfigError: the file names none (Ducho's vectors), its weights are not there, or they are
            other ones than those that made the features.
        RunError: the file is missing or damaged.
    """
    record = read_json(record_file)
    if not {"encoder", "encoder_options", "weights_sha256", "kind"} <= record.keys():
        raise ConfigError(f"{record_file}: names no encoder; extract these features again")
    encoder = make_encoder(record["encoder"], record["encoder_options"], record["kind"])
    if encoder.weights() != record["weights_sha256"]:
        raise ConfigError(
            f"{record_file}: the encoder's weights have changed since the features were made; "
            "extract them again, or bring back the weights"
        )
    return encoder
