"""One text, image or sound from a file, or the reason why it cannot be read."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from .libraries import first_line, library

Kind: TypeAlias = Literal["text", "image", "audio"]
Source: TypeAlias = "str | Path | bytes"
"""A text itself, or the file or bytes of a text, an image or a sound."""

SUFFIXES: dict[str, tuple[str, ...]] = {
    "text": (".txt",),
    "image": (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    "audio": (".wav", ".flac", ".ogg", ".mp3", ".aiff"),
}
READ_AS = {
    "text": "white space counts as one space",
    "image": "first frame, turned as its EXIF says, transparency on white, RGB",
    "audio": "mean of the channels, resampled",
}
"""What reading does to content before an encoder prepares it."""

MAX_TEXT_BYTES = 1_000_000


class Unreadable(Exception):
    """An input that cannot be used; the text says why."""


@dataclass(frozen=True)
class Sound:
    """A mono waveform `(n,)` float32 and its samples a second."""

    waveform: np.ndarray
    rate: int


@dataclass(frozen=True)
class Limits:
    """What one input may cost.

    Attributes:
        max_pixels: images with more are not decoded: a small file can hold a giant image.
        max_seconds: sounds are cut there.
    """

    max_pixels: int
    max_seconds: float


def read_source(kind: Kind, source: Source, limits: Limits) -> Any:
    """A text as `str`, an image as a PIL image in RGB, a sound as `Sound`.

    Raises:
        Unreadable: the input is empty, damaged, or larger than the limits.
        ConfigError: the library that reads it is not installed.
    """
    if kind == "text":
        return _text(source)
    if not isinstance(source, bytes) and Path(source).stat().st_size == 0:
        raise Unreadable("the file is empty")
    file = io.BytesIO(source) if isinstance(source, bytes) else Path(source)
    return _image(file, limits) if kind == "image" else _sound(file, limits)


def _text(source: Source) -> str:
    if isinstance(source, Path):
        if source.stat().st_size > MAX_TEXT_BYTES:
            raise Unreadable(f"the file has more than {MAX_TEXT_BYTES:,} bytes")
        source = source.read_bytes()
    if isinstance(source, bytes):
        try:
            source = source.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise Unreadable(f"no UTF-8 text ({error.reason})") from error
    text = tidy_text(source)
    if not text:
        raise Unreadable("the text is empty")
    return text


def tidy_text(text: str) -> str:
    """`text` with every run of white space as one space."""
    return " ".join(text.split())


def _image(file: io.BytesIO | Path, limits: Limits) -> Any:
    pil, ops = library("PIL.Image", "pillow"), library("PIL.ImageOps", "pillow")
    try:
        with pil.open(file) as image:
            width, height = image.size
            if width * height > limits.max_pixels:
                raise Unreadable(
                    f"{width} x {height} pixels, more than the {limits.max_pixels:,} of max_pixels"
                )
            turned = ops.exif_transpose(image)
            if turned.has_transparency_data:
                seen = turned.convert("RGBA")
                turned = pil.new("RGBA", seen.size, "white")
                turned.alpha_composite(seen)
            return turned.convert("RGB")
    except Unreadable:
        raise
    except Exception as error:  # damaged images raise almost anything
        raise Unreadable(f"no readable image ({first_line(error)})") from error


def _sound(file: io.BytesIO | Path, limits: Limits) -> Sound:
    soundfile = library("soundfile", "soundfile")
    try:
        with soundfile.SoundFile(file) as sound:
            rate = int(sound.samplerate)
            samples = sound.read(int(limits.max_seconds * rate), dtype="float32", always_2d=True)
    except Exception as error:  # soundfile, libsndfile and the system each have their own
        raise Unreadable(f"no readable sound ({first_line(error)})") from error
    if not len(samples) or not np.isfinite(samples).all():
        raise Unreadable("the sound has no samples" if not len(samples) else "not finite samples")
    return Sound(samples.mean(axis=1), rate)
