"""From raw content to features that data sets read."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..progress import Bar
from .base import ContentEncoder
from .encode import encode_missing, unit
from .inputs import Inputs
from .media import READ_AS
from .options import ExtractOptions
from .record import features_file, features_hash, unchanged, write_features, write_record
from .vectors import VectorLog

POOLING = "mean of the unit vectors of an item's inputs"


@dataclass(frozen=True)
class Extraction:
    """What `extract` did.

    Attributes:
        file: the features.
        record: what stands in the JSON beside them.
        made: False where just these features were there already.
    """

    file: Path
    record: dict[str, Any]
    made: bool


@dataclass(frozen=True)
class _Recipe:
    """Everything that decides the vectors."""

    encoder: str
    options: Mapping[str, Any]
    weights_sha256: str | None
    preprocessing: dict[str, Any]
    precision: str

    def key(self) -> str:
        """Short hash, without the options: a model may be found in another place next time."""
        decides = [self.encoder, self.weights_sha256, self.preprocessing, self.precision]
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


def extract(
    inputs: Inputs,
    encoder: ContentEncoder,
    folder: Path,
    options: ExtractOptions,
    *,
    named: tuple[str, Mapping[str, Any]],
    file_format: str = "npz",
    progress: bool = True,
) -> Extraction:
    """Encode the content of a modality and write `<modality>_feat.<format>` and its JSON.

    Equal inputs are encoded once. The vector of each is kept in a hidden file beside the features,
    so the same call goes on after a kill, and encodes what is new when items were added; it does
    nothing if the features are there already. Items without a readable input are left out of the
    file, so that data sets mark them as missing, and are listed in the JSON with the reason.

    Args:
        inputs: items and their content.
        encoder: its weights loaded.
        folder: where to write.
        options: how to read and encode.
        named: the encoder's name and options, which make it again (see `record_encoder`).
        file_format: `npz` or `parquet`.
        progress: show bars.

    Raises:
        ConfigError: other features are in the place of these.
        DataError: no item has an input that can be read.
        RunError: the encoder fails on everything, or the disk is full.
    """
    file = features_file(folder, inputs.modality, file_format)
    folder.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    digests, why = _digests(inputs, progress)
    recipe = _recipe(encoder, inputs, options, named)
    made_from = {"input_sha256": _input_hash(inputs, digests), "recipe": recipe.key()}
    if old := unchanged(file, made_from):
        return Extraction(file, old, made=False)

    sources = {d: s for s, d in digests.items()}
    path = folder / f".{inputs.modality}_feat.{recipe.key()}.vectors"
    with VectorLog(path) as log:
        n_known = sum(digest in log for digest in sources)
        failed = encode_missing(encoder, inputs.kind, sources, log, options, progress=progress)
        why.update({source: failed[d] for source, d in digests.items() if d in failed})
        vectors = {source: log[d] for source, d in digests.items() if d in log}
        kept, features = _pooled(inputs, vectors, why)
    item_ids = inputs.item_ids[kept]
    write_features(file, item_ids, features)
    record = {
        "what": f"{inputs.modality}: {inputs.kind} encoded by {recipe.encoder}",
        "modality": inputs.modality,
        "kind": inputs.kind,
        "origin": inputs.origin,
        **made_from,
        "features_sha256": features_hash(item_ids, features),
        "encoder": recipe.encoder,
        "encoder_options": _found_again(recipe.options),
        "weights_sha256": recipe.weights_sha256,
        "preprocessing": recipe.preprocessing,
        "precision": recipe.precision,
        "pooling": POOLING,
        "device": str(options.torch_device()),
        "versions": encoder.versions(),
        "items": int(kept.sum()),
        "items_without": int((~kept).sum()),
        "dim": features.shape[1],
        "inputs": sum(map(len, inputs.contents)),
        "distinct_inputs": len(sources),
        "encoded_before": n_known,
        "seconds": round(time.perf_counter() - start, 3),
        **_left_out(inputs, kept, why),
    }
    write_record(file, record)
    log.without_others(sources)
    for other in folder.glob(f".{inputs.modality}_feat.*.vectors"):
        if other != path:
            other.unlink()
    return Extraction(file, record, made=True)


def _digests(inputs: Inputs, progress: bool) -> tuple[dict[str | Path, bytes], dict[Any, str]]:
    """Source -> SHA-256 of its content, and source -> reason for files that cannot be opened."""
    digests: dict[str | Path, bytes] = {}
    why: dict[Any, str] = {}
    sources = dict.fromkeys(source for content in inputs.contents for source in content)
    hide = not progress or inputs.kind == "text"
    for source in Bar(sources, desc=f"{inputs.kind} files", disable=hide):
        try:
            digests[source] = _digest(source)
        except OSError as error:
            why[source] = f"the file cannot be read ({error.strerror})"
    return digests, why


def _digest(source: str | Path) -> bytes:
    if isinstance(source, str):
        return hashlib.sha256(source.encode("utf-8", "surrogatepass")).digest()
    total = hashlib.sha256()
    with source.open("rb") as file:
        while block := file.read(1 << 20):
            total.update(block)
    return total.digest()


def _input_hash(inputs: Inputs, digests: Mapping[str | Path, bytes]) -> str:
    """SHA-256 over every item's id and the content of its inputs."""
    total = hashlib.sha256()
    for item, content in zip(inputs.item_ids.tolist(), inputs.contents, strict=True):
        total.update(f"{item}\n".encode())
        for source in content:
            total.update(digests.get(source, b"unreadable"))
    return total.hexdigest()


def _recipe(
    encoder: ContentEncoder,
    inputs: Inputs,
    options: ExtractOptions,
    named: tuple[str, Mapping[str, Any]],
) -> _Recipe:
    limits = {"image": options.max_pixels, "audio": options.max_seconds}
    preprocessing = {"read_as": READ_AS[inputs.kind], "limit": limits.get(inputs.kind)}
    half = "float16" if options.torch_device().type == "cuda" else "bfloat16"
    return _Recipe(
        *named,
        weights_sha256=encoder.weights(),
        preprocessing={**preprocessing, **encoder.preprocessing()},
        precision=half if options.half else "float32",
    )


def _found_again(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options with the folders and files of weights as they are found from anywhere."""
    return {
        key: str(Path(value).resolve())
        if key in ("model", "checkpoint", "pretrained") and value and Path(str(value)).exists()
        else value
        for key, value in options.items()
    }


def _pooled(
    inputs: Inputs, vectors: Mapping[str | Path, np.ndarray], why: Mapping[Any, str]
) -> tuple[np.ndarray, np.ndarray]:
    """Which items have a vector `(n_items,)` bool, and the vectors `(n_kept, dim)` float32."""
    readable = [[s for s in content if s in vectors] for content in inputs.contents]
    kept = np.array([bool(sources) for sources in readable])
    if not kept.any():
        reason = next(iter(why.values()), "there are no inputs")
        raise DataError(
            f"{inputs.modality}: no item has {inputs.kind} that can be read ({reason}); check the "
            "columns or the folder"
        )
    means = [np.mean([unit(vectors[s]) for s in some], axis=0) for some in readable if some]
    return kept, np.stack(means).astype(np.float32)


def _left_out(inputs: Inputs, kept: np.ndarray, why: Mapping[Any, str]) -> dict[str, Any]:
    """Inputs that could not be used, and items that have no vector, with the reason."""
    unreadable, missing = [], []
    for item, content, has in zip(inputs.item_ids.tolist(), inputs.contents, kept, strict=True):
        bad = [(source, why[source]) for source in content if source in why]
        for source, reason in bad:
            name = source.name if isinstance(source, Path) else source[:80]
            unreadable.append({"item": item, "input": name, "why": reason})
        if not has:
            missing.append({"item": item, "why": bad[0][1] if bad else "has none"})
    return {"missing": missing, "unreadable": unreadable}
