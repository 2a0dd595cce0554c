"""Rot is noticed: no damaged file is taken for whole, and none ends the process."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from crossalign.cli import main

RESUME = "train --resume r --quiet --set training.epochs=5"


def flip(file: Path, part: float) -> None:
    """Turn one bit around, at a part of the file."""
    raw = bytearray(file.read_bytes())
    raw[int(part * len(raw))] ^= 0x10
    file.write_bytes(raw)


ROT = {
    "checkpoint": ("r/checkpoint.pt", RESUME),
    "weights": ("r/model.safetensors", "evaluate r"),
    "vectors": ("s/vectors.safetensors", "recommend s --users 1"),
    "seen": ("s/seen.npz", "recommend s --users 1"),
    "items": ("s/items.csv", "recommend s --users 1"),
    "users": ("s/users.csv", "recommend s --users 1"),
    "index": ("s/items.faiss", "recommend s --users 1"),
    "neighbours": ("n.npz", "train d --alignment cna --set neighbors.file=n.npz --out new"),
}


@pytest.mark.parametrize("part", [0.35, 0.5, 0.65])
@pytest.mark.parametrize("name", ROT)
def test_a_flipped_bit_is_noticed(
    name: str, part: float, place: Path, refused: Callable[[str], str]
) -> None:
    file, command = ROT[name]
    if name == "neighbours":
        c_yaml = (place / "c.yaml").read_text()
        command = "train planted --config near.yaml --out new"
        (place / "near.yaml").write_text(c_yaml + "alignment: cna\nneighbors: {file: p.npz}\n")
        planted = ["neighbors", "planted", "--config", "c.yaml", "-o", "p.npz", "--quiet"]
        assert main(planted) == 0
        file = "p.npz"
    flip(place / file, part)
    assert "damaged" in refused(command)


NUMBERS = {
    "no mapping": ("[]", "no mapping"),
    "empty": ("{}", "no numbers under 'valid'"),
    "deep": ("[" * 100_000 + "]" * 100_000, "damaged"),
    "text": ('{"valid": {"recall@20": "a"}, "test": {}}', "no numbers under 'valid'"),
    "half": ('{"valid": {', "damaged"),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_odd_metrics_are_refused(name: str, place: Path, refused: Callable[[str], str]) -> None:
    text, message = NUMBERS[name]
    (place / "r" / "metrics.json").write_text(text)
    assert message in refused("export r --out new")


def test_changed_metrics_are_noticed(place: Path, refused: Callable[[str], str]) -> None:
    file = place / "r" / "metrics.json"
    found = json.loads(file.read_text())
    found["test"]["recall@20"] += 0.1
    file.write_text(json.dumps(found))
    assert "its checksum is wrong" in refused("export r --out new")


def _change(content: dict, change: Callable) -> None:
    for state in content["optimizer"]["state"].values():
        change(state)


ODD = {
    "moments of another shape": lambda c: _change(c, lambda s: s.update(exp_avg=torch.zeros(3))),
    "moments of another type": lambda c: _change(
        c, lambda s: s.update(exp_avg_sq=s["exp_avg_sq"].double())
    ),
    "negative squares": lambda c: _change(c, lambda s: s["exp_avg_sq"].fill_(-1)),
    "no number": lambda c: _change(c, lambda s: s["exp_avg"].fill_(torch.nan)),
    "no moments": lambda c: _change(c, lambda s: s.pop("exp_avg")),
    "step as text": lambda c: _change(c, lambda s: s.update(step="7")),
    "too many": lambda c: c["optimizer"]["state"].update({99: {}}),
    "weights of another shape": lambda c: c["modules"].update(
        {name: table[:-1] for name, table in c["modules"].items()}
    ),
    "epochs": lambda c: c["state"].update(epoch=1000),
    "generator": lambda c: c["rngs"].update(torch=torch.zeros(3, dtype=torch.uint8)),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_an_odd_checkpoint_never_crashes(
    name: str, place: Path, refused: Callable[[str], str]
) -> None:
    """What was written by something else is whole, and yet no kernel may be given it."""
    file = place / "r" / "checkpoint.pt"
    content = torch.load(file, weights_only=True)
    ODD[name](content)
    torch.save(content, file)
    assert "holds another model" in refused(RESUME)


def test_hostile_checkpoint_gives_no_advice_to_run_it(
    place: Path, refused: Callable[[str], str]
) -> None:
    file = place / "r" / "checkpoint.pt"
    with zipfile.ZipFile(file) as archive:
        members = {one: archive.read(one) for one in archive.namelist()}
    hostile = b"cos\nsystem\n(S'touch PWNED'\ntR."
    with zipfile.ZipFile(file, "w") as archive:
        for one, raw in members.items():
            archive.writestr(one, hostile if one.endswith("data.pkl") else raw)
    said = refused(RESUME)
    assert "more than tensors, numbers and text" in said
    assert "weights_only" not in said
    assert not (place / "PWNED").exists()
