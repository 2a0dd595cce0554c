"""Distinct inputs through an encoder, batch by batch, whatever state they are in."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
import torch

from ..errors import ConfigError, RunError
from ..progress import Bar
from .base import ContentEncoder
from .libraries import first_line, foreign_packages
from .media import Kind, Source, Unreadable, read_source
from .options import ExtractOptions
from .vectors import VectorLog

Prepared: TypeAlias = "tuple[bytes, Any]"
DEFAULTS = ExtractOptions()
FAILS = "encoding fails"
GIVE_UP_AFTER = 32
"""Failures with no success before them: the encoder is broken, not the inputs."""


def encode_sources(
    encoder: ContentEncoder,
    kind: Kind,
    sources: Sequence[Source],
    options: ExtractOptions = DEFAULTS,
) -> tuple[np.ndarray, dict[int, str]]:
    """Unit vectors of a few inputs, such as those of one request.

    Args:
        encoder: moved to the device of `options`.
        kind: what the inputs are.
        sources: texts, files, or the bytes of files.
        options: how to read and encode.

    Returns:
        `(n, dim)` float32, and row -> reason for the inputs that could not be used (zero rows).

    Raises:
        ConfigError: no input could be used.
    """
    device = options.torch_device()
    encoder.to(device)
    done: dict[bytes, np.ndarray] = {}
    keys = [index.to_bytes(8, "big") for index in range(len(sources))]
    why: dict[bytes, str] = {}
    ready: list[Prepared] = []
    with foreign_packages():
        for key, source in zip(keys, sources, strict=True):
            try:
                ready.append((key, encoder.prepare(read_source(kind, source, options.limits()))))
            except ConfigError:
                raise
            except Exception as error:  # as in `_prepare`
                why[key] = first_line(error)
        for start in range(0, len(ready), options.batch_size):
            batch = ready[start : start + options.batch_size]
            done.update(_vectors(encoder, kind, batch, device, options.half, why))
    if not done:
        raise ConfigError(f"no input can be encoded: {next(iter(why.values()), 'none given')}")
    width = len(next(iter(done.values())))
    rows = [unit(done[key]) if key in done else np.zeros(width, np.float32) for key in keys]
    return np.stack(rows), {keys.index(key): reason for key, reason in why.items()}


def encode_missing(
    encoder: ContentEncoder,
    kind: Kind,
    sources: Mapping[bytes, Source],
    log: VectorLog,
    options: ExtractOptions,
    *,
    progress: bool = True,
) -> dict[bytes, str]:
    """Encode the sources that `log` lacks, and append their vectors to it after every batch.

    While a batch is encoded, threads read and prepare the next one.

    Args:
        encoder: moved to the device of `options`.
        kind: what the sources are.
        sources: digest -> text or file.
        log: gets the vectors.
        options: how to read and encode.
        progress: show the time left.

    Returns:
        Digest -> reason, for what cannot be read or encoded.

    Raises:
        RunError: the encoder fails on everything, or its device has too little memory.
    """
    device = options.torch_device()
    encoder.to(device)
    todo = [digest for digest in sources if digest not in log]
    if kind == "text":  # like lengths together, the longest first: little padding, no surprise
        todo.sort(key=lambda digest: len(str(sources[digest])), reverse=True)
    why: dict[bytes, str] = {}
    total, done, unit = len(sources), len(sources) - len(todo), f" {kind}s"
    bar = Bar(total=total, initial=done, desc=kind, unit=unit, disable=not progress)
    with foreign_packages(), bar, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damaged files; what cannot be read is listed
        for size, batch in _batches(encoder, kind, todo, sources, options, why):
            vectors = _vectors(encoder, kind, batch, device, options.half, why)
            if vectors:
                log.append(list(vectors), np.stack(list(vectors.values())))
            elif not len(log) and sum(r.startswith(FAILS) for r in why.values()) >= GIVE_UP_AFTER:
                raise RunError(f"the encoder fails on everything so far: {why[batch[0][0]]}")
            bar.update(size)
    return why


def _batches(
    encoder: ContentEncoder,
    kind: Kind,
    todo: Sequence[bytes],
    sources: Mapping[bytes, Source],
    options: ExtractOptions,
    why: dict[bytes, str],
) -> Iterator[tuple[int, list[Prepared]]]:
    """Sizes of batches, and what of them could be read and prepared."""
    limits = options.limits()

    def prepare(digest: bytes) -> Any:
        return encoder.prepare(read_source(kind, sources[digest], limits))

    def results(futures: dict[bytes, Future[Any]]) -> Iterator[Prepared]:
        for digest, future in futures.items():
            try:
                yield digest, future.result()
            except ConfigError:
                raise
            except Exception as error:  # whatever one bad input makes a library raise
                why[digest] = first_line(error)

    starts = range(0, len(todo), options.batch_size)
    with ThreadPoolExecutor(options.workers) as pool:

        def submit(start: int) -> dict[bytes, Future[Any]]:
            chosen = todo[start : start + options.batch_size]
            return {digest: pool.submit(prepare, digest) for digest in chosen}

        ahead = submit(0)
        for start in starts:
            current, ahead = ahead, submit(start + options.batch_size)
            yield len(current), list(results(current))


def _vectors(
    encoder: ContentEncoder,
    kind: Kind,
    batch: Sequence[Prepared],
    device: torch.device,
    half: bool,
    why: dict[bytes, str],
) -> dict[bytes, np.ndarray]:
    """Digest -> vector. A batch that fails is tried one by one, so that one input fails alone."""
    if not batch:
        return {}
    try:
        rows = _rows(encoder, kind, [content for _, content in batch], device, half)
    except torch.OutOfMemoryError as error:
        raise RunError(
            f"{device} has too little memory for a batch of {len(batch)}: set a smaller "
            "batch_size, then run the same command again: what is done stays"
        ) from error
    except Exception as error:  # third-party code and any content: the reason is kept
        if len(batch) == 1:
            why[batch[0][0]] = f"{FAILS}: {type(error).__name__}, {first_line(error)}"
            return {}
        single = (_vectors(encoder, kind, [one], device, half, why) for one in batch)
        return {digest: row for found in single for digest, row in found.items()}
    found = {}
    for (digest, _), row in zip(batch, rows, strict=True):
        if np.isfinite(row).all() and row.any():
            found[digest] = row
        else:
            why[digest] = "encoding gives zeros or values that are not finite"
    return found


def _rows(
    encoder: ContentEncoder, kind: Kind, contents: list[Any], device: torch.device, half: bool
) -> np.ndarray:
    dtype = torch.float16 if device.type == "cuda" else torch.bfloat16
    with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=half):
        rows = encoder.encode(kind, contents, device).float().cpu().numpy()
    if rows.ndim != 2 or len(rows) != len(contents):
        raise Unreadable(f"{len(contents)} contents gave vectors of shape {rows.shape}")
    return rows


def unit(vector: np.ndarray) -> np.ndarray:
    """`vector` with length 1, in float32."""
    wide = vector.astype(np.float64)
    return (wide / np.linalg.norm(wide)).astype(np.float32)
