"""Recommendation when items lack a modality: metrics against the share of masked items.

A protocol of AlignRec (CIKM 2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..components import reads_content
from ..config import RunConfig
from ..errors import ConfigError
from .methods import Method, grid_methods, method_label

RATIOS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)


def mask_methods(config: RunConfig, ratios: Sequence[float] = RATIOS) -> list[Method]:
    """One method per ratio, to be trained by `run_study`; each is compared with the first.

    Which items lose which modality depends on `data.mask_seed` alone, so the items masked at one
    ratio are masked at every higher one, for every recommender. What is left in a masked row, and
    whether it counts as missing, the options `data.mask_*` say. Ready item graphs are left out at
    every ratio, 0 included, so that all graphs come from the features at hand.

    Args:
        config: the recommender.
        ratios: shares of the items that lose one modality.

    Raises:
        ConfigError: nothing in the recommender reads content.
    """
    if not reads_content(config):
        raise ConfigError(
            f"{method_label(config)} reads no content, so masking changes nothing: set an "
            "alignment, or choose a backbone that reads content"
        )
    base = replace(config, data=replace(config.data, item_graphs=False))
    methods = grid_methods(base, {"data.mask_ratio": list(ratios)})
    first = methods[0].label
    return [replace(m, base=None if m.label == first else first) for m in methods]
