"""Weights come from folders only; an encoder that counts, and what its tests share."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from crossalign.extraction import ContentEncoder, ExtractOptions, extract, read_items

OPTIONS = ExtractOptions(batch_size=4)


class Lengths(ContentEncoder):
    """Texts to (words, letters); pictures to their mean colour. Counts what it encodes."""

    reads = ("text", "image")
    module = torch.nn.Linear(1, 1)

    def __init__(self, dies_at=None):
        self.seen = []
        self.dies_at = dies_at

    def encode(self, kind, prepared, device):
        for content in prepared:
            if content == "poison":
                raise ValueError("cannot digest this")
        if self.dies_at is not None and len(self.seen) >= self.dies_at:
            raise KeyboardInterrupt
        self.seen += prepared
        if kind == "image":
            colours = [np.asarray(image, np.float32).mean((0, 1)) for image in prepared]
            return torch.from_numpy(np.stack(colours))
        return torch.tensor([[len(t.split()), len(t)] for t in prepared], dtype=torch.float32)

    def preprocessing(self):
        return {"counts": "words and letters"}


def table(folder, **columns):
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(columns).to_csv(folder / "items.csv", index=False)
    return read_items(folder / "items.csv")


def run(inputs, folder, encoder=None, options=OPTIONS, **more):
    encoder = encoder or Lengths()
    named = ("counts", {})
    return extract(inputs, encoder, folder, options, named=named, progress=False, **more)


def rows(file):
    with np.load(file) as found:
        return dict(zip(found["ids"].tolist(), found["features"], strict=True))


def unit(*values):
    return np.array(values) / np.linalg.norm(values)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is fetched, and no bars are drawn."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
