"""The encoder that a features' JSON names, for content that comes later."""

from __future__ import annotations

from pathlib import Path

from ..errors import ConfigError
from ..fileio import read_json
from .base import ContentEncoder, make_encoder


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
