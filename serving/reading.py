"""Parts of an export, read; errors of damaged files are the caller's to name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..datasets.frames import integer_column, read_frame
from .content_map import ContentMap


def read_content_map(
    about: Mapping[str, Any] | None, tensors: Mapping[str, Tensor]
) -> ContentMap | None:
    """The map from content to vectors; None where there is none."""
    if about is None:
        return None
    centre, weight, bias = (tensors[f"content_map.{name}"] for name in ("centre", "weight", "bias"))
    return ContentMap(about["modalities"], centre, weight, bias, about["penalty"])


def read_bought_and_titles(file: Path) -> tuple[Tensor, np.ndarray | None]:
    """Training interactions and titles of the rows of `items.csv`; an older one has no titles."""
    frame = read_frame(file)
    bought = torch.from_numpy(integer_column(frame, "interactions"))
    titles = frame.columns.get("title")
    return bought, None if titles is None else np.array(titles.fill_null(""), dtype=object)


def read_ids(file: Path) -> pd.Index:
    """Ids of the rows of `users.csv` or `items.csv`."""
    return pd.Index(np.asarray(read_frame(file).columns["id"], dtype=object))
