"""The encoders that an export names, for raw content of new items."""

from __future__ import annotations

import base64
import binascii
import sys
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ConfigError, CrossalignError
from ...extraction import ContentEncoder, ExtractOptions, encode_sources, record_encoder
from ...fileio import read_json
from ..beside import record_name
from .errors import Missing, Refused


@dataclass(frozen=True)
class _Loaded:
    encoder: ContentEncoder
    record: Mapping[str, Any]


class Encoders:
    """Loads encoders when first used, and keeps those whose record a new export repeats.

    Its methods block, and may be called from several threads.

    Args:
        max_pixels: of an image.
        allow_code: whether records may name code (`module:callable`).
    """

    def __init__(self, max_pixels: int, *, allow_code: bool = False) -> None:
        self._options = ExtractOptions(device="cpu", batch_size=16, max_pixels=max_pixels)
        self._allow_code = allow_code
        self._loaded: dict[str, _Loaded] = {}
        self._lock = threading.Lock()

    def read_records(self, folder: Path, modalities: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The records of an export, by modality."""
        files = {name: folder / record_name(name) for name in modalities}
        return {name: {**read_json(file), "file": file} for name, file in files.items()}

    def encode(self, modality: str, record: Mapping[str, Any], contents: list[str]) -> np.ndarray:
        """Features `(n, width)` of raw contents: texts, or files in Base64.

        Raises:
            Refused: a content cannot be read.
            Missing: the encoder cannot be loaded here; the log says why.
        """
        kind = record["kind"]
        sources = contents if kind == "text" else [_decoded(content) for content in contents]
        with self._lock:
            encoder = self._encoder(modality, record)
            try:
                rows, why = encode_sources(encoder, kind, sources, self._options)
            except ConfigError:
                raise Refused(f"no content of '{modality}' can be read") from None
        if why:
            place, reason = next(iter(why.items()))
            raise Refused(f"content {place} of '{modality}' cannot be read: {reason}")
        return rows

    def _encoder(self, modality: str, record: Mapping[str, Any]) -> ContentEncoder:
        plain = {key: value for key, value in record.items() if key != "file"}
        known = self._loaded.get(modality)
        if known is not None and known.record == plain:
            return known.encoder
        if ":" in str(record.get("encoder")) and not self._allow_code:
            raise Missing(f"the encoder of '{modality}' is code, which this service may not run")
        try:
            encoder = record_encoder(record["file"])
        except CrossalignError as error:
            print(f"crossalign: encoder of '{modality}': {error}", file=sys.stderr, flush=True)
            raise Missing(f"the encoder of '{modality}' is not available here") from None
        self._loaded[modality] = _Loaded(encoder, plain)
        return encoder


def _decoded(content: str) -> bytes:
    try:
        return base64.b64decode(content.encode(), validate=True)
    except (binascii.Error, ValueError):
        raise Refused("a file is no Base64") from None
