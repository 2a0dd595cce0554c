"""The examples run, and alignment helps in them."""

from __future__ import annotations

import runpy
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_aligning_your_own_recommender_helps_it() -> None:
    module = runpy.run_path(str(EXAMPLES / "align_your_own.py"))
    result = module["main"](epochs=10, n_users=1500, n_items=800)
    assert result["aligned"] > result["alone"]
