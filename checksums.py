"""Checksums in what is written, and their check before it is used: rot is noticed, not computed on.

- A mapping that becomes JSON carries the SHA-256 of its other entries as `checksum`.
- A safetensors file carries that of its tensors in its metadata, as `sha256`.
- A ZIP archive, as torch and NumPy write it, has a CRC-32 of every member, which torch does not
  check, and NumPy not always.

Files that earlier versions wrote have none of the first two, and are read unchecked.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

if TYPE_CHECKING:
    from torch import Tensor

SEAL = "checksum"
_DIGEST = "sha256"
_BLOCK = 2**20

DAMAGED = (
    OSError, EOFError, ValueError, LookupError, TypeError, NotImplementedError, OverflowError,
    SafetensorError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What readers raise at a file that is not as it was written."""


def file_checksum(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(_BLOCK):
            digest.update(chunk)
    return digest.hexdigest()


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """`value` with the checksum of what it says, as its last entry."""
    rest = {name: part for name, part in value.items() if name != SEAL}
    return {**rest, SEAL: _of_json(rest)}


def require_seal(value: Mapping[str, Any]) -> None:
    """Raise `ValueError` if `value` was written by `sealed` and says something else now."""
    if SEAL in value:
        rest = {name: part for name, part in value.items() if name != SEAL}
        if value[SEAL] != _of_json(rest):
            raise ValueError("its checksum is wrong")


def _of_json(value: Mapping[str, Any]) -> str:
    plain = json.loads(json.dumps(value))  # as it will be read: with text for keys
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def tensor_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """A safetensors file with a checksum; equal tensors and metadata give equal bytes."""
    from safetensors.torch import save  # torch is not needed to check JSON

    raw = save({name: tensor.contiguous() for name, tensor in tensors.items()})
    header, body = _split(raw)
    header["__metadata__"] = dict(metadata or {})
    header["__metadata__"][_DIGEST] = _of_tensors(header, body)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body


def read_tensors(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        ValueError: its checksum is wrong; and other errors of `DAMAGED`.
    """
    from safetensors.torch import load

    raw = Path(path).read_bytes()
    tensors: dict[str, Tensor] = load(raw)  # checks the header
    header, body = _split(raw)
    if header.get("__metadata__", {}).get(_DIGEST) not in (None, _of_tensors(header, body)):
        raise ValueError("its checksum is wrong")
    return tensors


def _split(raw: bytes) -> tuple[dict[str, Any], memoryview]:
    start = 8 + int.from_bytes(raw[:8], "little")
    return json.loads(raw[8:start]), memoryview(raw)[start:]


def _of_tensors(header: Mapping[str, Any], body: memoryview) -> str:
    metadata = {k: v for k, v in header.get("__metadata__", {}).items() if k != _DIGEST}
    named = json.dumps({**header, "__metadata__": metadata}, sort_keys=True)
    digest = hashlib.sha256(named.encode())
    digest.update(body)
    return digest.hexdigest()


def require_sound_archive(path: str | os.PathLike[str]) -> None:
    """Check every member of a ZIP archive against its CRC-32.

    Raises:
        ValueError: names a member that is not as it was written; and other errors of `DAMAGED`.
    """
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.flag_bits & 1:
                raise ValueError(f"'{member.filename}' is encrypted")
            with archive.open(member) as file:
                while file.read(_BLOCK):
                    pass
