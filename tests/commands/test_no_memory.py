"""What no machine has the memory for is refused in one line, and `k` is capped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from crossalign.cli import main

HUGE = 10**12
TRAIN = "train planted --config c.yaml --quiet --out new --set"
ABSURD = {
    "embeddings": f"{TRAIN} backbone.dim={HUGE}",
    "embeddings that memory might be promised for": f"{TRAIN} backbone.dim=100000000",
    "prototypes": f"{TRAIN} alignment.n_prototypes={HUGE} --alignment cla",
    "prototypes of CROSS": f"{TRAIN} alignment.n_prototypes={HUGE} --alignment cross",
    "negatives": f"{TRAIN} training.shared_negatives={HUGE}",
    "planted items": f"describe planted --set data.planted_items={HUGE}",
    "planted users": f"describe planted --set data.planted_users={HUGE}",
    "encoder": f"encode planted --config c.yaml -o e_feat.npy --encoder dim={HUGE} --quiet",
}


@pytest.mark.parametrize("name", ABSURD)
def test_what_does_not_fit_is_refused(
    name: str, place: Path, refused: Callable[[str], str]
) -> None:
    said = refused(ABSURD[name])
    assert "out of memory" in said or "GiB, and there are" in said
    assert not (place / "new" / "metrics.json").exists()
    assert not (place / "e_feat.npy").exists()


CAPPED = {
    "lists": f"recommend s --users 1 -k {HUGE}",
    "neighbours": f"neighbors d -k {HUGE} -o few.npz --quiet",
    "lists of groups": f"popularity r -k {HUGE} --groups 2 --quiet --out p",
}


@pytest.mark.parametrize("name", CAPPED)
def test_k_beyond_the_catalogue_is_the_catalogue(name: str, place: Path) -> None:
    assert main(CAPPED[name].split()) == 0
