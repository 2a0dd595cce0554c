"""Parts of an export belong together, and nothing else is written into it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from crossalign.cli import main


def _edit(file: str, change: Callable[[dict], None]) -> Callable[[Path], None]:
    """Change arrays of an export of an earlier version, which has no checksums."""

    def edit(place: Path) -> None:
        about = json.loads((place / "s/about.json").read_text())
        del about["sha256"], about["checksum"]
        (place / "s/about.json").write_text(json.dumps(about))
        if file.endswith(".npz"):
            with np.load(place / "s" / file) as archive:
                arrays = dict(archive)
            change(arrays)
            np.savez(place / "s" / file, **arrays)
        elif file.endswith(".csv"):
            lines = (place / "s" / file).read_text().splitlines()
            found = {"lines": lines}
            change(found)
            (place / "s" / file).write_text("\n".join(found["lines"]) + "\n")
        else:
            tensors = load_file(place / "s" / file)
            change(tensors)
            save_file(tensors, place / "s" / file)

    return edit


def _items(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Path], None]:
    return _edit("vectors.safetensors", lambda t: t.update(item=change(t["item"]).contiguous()))


def _seen(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    return _edit("seen.npz", lambda a: a.update({name: change(a[name])}))


PARTS = {
    "another width": _items(lambda x: x[:, :5]),
    "another type": _items(lambda x: x.double()),
    "a flat table": _items(lambda x: x[:, 0]),
    "fewer items": _items(lambda x: x[:-1]),
    "no numbers": _items(lambda x: x * torch.inf),
    "items below zero": _seen("indices", lambda a: a - 1000),
    "items too large": _seen("indices", lambda a: a + 1000),
    "rows backwards": _seen("indptr", lambda a: a[::-1].copy()),
    "items as floats": _seen("indices", lambda a: a * 1.0),
    "a user twice": _edit("users.csv", lambda f: f["lines"].__setitem__(2, f["lines"][1])),
}


@pytest.mark.parametrize("name", PARTS)
def test_parts_that_do_not_belong_together_are_refused(
    name: str, place: Path, refused: Callable[[str], str]
) -> None:
    PARTS[name](place)
    assert "s is damaged" in refused("recommend s --users 1")


def test_a_part_of_another_export_is_refused(
    place: Path, refused: Callable[[str], str], train_small: Callable[..., None]
) -> None:
    train_small("d", "other", "training.epochs=1", "seed=1")
    assert main(["export", "other", "--out", "t"]) == 0
    shutil.copy("t/vectors.safetensors", "s/vectors.safetensors")
    assert "vectors.safetensors is not the file" in refused("recommend s --users 1")


INSIDE = {
    "lists": "recommend s -o s/users.csv --quiet",
    "run": "train d --out s",
    "run inside": "train d --out s/new",
    "neighbors": "neighbors d -o s/items.npz",
    "encode": "encode planted -o s/seen.npz",
    "study": "compare c.yaml --out s",
}


@pytest.mark.parametrize("name", INSIDE)
def test_nothing_is_written_into_an_export(
    name: str, place: Path, refused: Callable[[str], str]
) -> None:
    before = {file: file.read_bytes() for file in (place / "s").iterdir()}
    assert "in the export" in refused(INSIDE[name])
    assert {file: file.read_bytes() for file in (place / "s").iterdir()} == before
