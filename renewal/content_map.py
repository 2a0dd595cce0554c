"""From content to item vectors, for items that feedback has not shaped yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError

PENALTIES = tuple(10.0**power for power in range(-2, 6))
MOST_ROWS = 50_000
"""Items that a map is fitted to; of a larger catalogue as many are drawn."""
TINY = 1e-12
"""Scale of a modality that is the same for all items."""


@dataclass(frozen=True)
class ContentMap:
    """A linear map from all content of an item to its vector.

    Gantner et al., "Learning Attribute-to-Feature Mappings for Cold-Start Recommendations", ICDM
    2010: ridge regression from attributes to the factors that feedback gave to other items. It
    reads nothing but features and representations, so it serves every backbone.

    Attributes:
        widths: modality -> number of its features, in the order of the rows of `weight`.
        centre: `(d,)` mean features; a missing modality counts as its mean.
        weight: `(d, dim)`.
        bias: `(dim,)`, the vector of an item of average content.
        penalty: of the squared weights, chosen by leave-one-out errors.
    """

    widths: Mapping[str, int]
    centre: Tensor
    weight: Tensor
    bias: Tensor
    penalty: float

    def __call__(
        self, features: Mapping[str, Tensor], missing: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Vectors `(n, dim)` of items.

        Args:
            features: modality -> `(n, d_m)`; a modality may be left out.
            missing: modality -> `(n,)` bool, True where an item lacks it.

        Raises:
            DataError: there is no modality of the map, an unknown one, or one of another width.
        """
        for name, table in features.items():
            if name not in self.widths:
                raise DataError(
                    f"content '{name}' is none that the items were trained with: give one of "
                    f"{', '.join(self.widths)}"
                )
            if table.shape[1] != self.widths[name]:
                raise DataError(
                    f"content '{name}' has {table.shape[1]} numbers an item, but was trained with "
                    f"{self.widths[name]}: make it with the same encoder"
                )
        if not features:
            raise DataError(f"new items need content: give one of {', '.join(self.widths)}")
        centres = dict(zip(self.widths, self.centre.split(list(self.widths.values())), strict=True))
        centred = centred_columns(centres, features, missing or {})
        return centred @ self.weight + self.bias

    def of_rows(
        self, features: Mapping[str, Tensor], missing: Mapping[str, Tensor], rows: Tensor
    ) -> Tensor:
        """Vectors `(n, dim)` of some items of a catalogue, by their ids or by a mask of all.

        Args:
            features: modality -> `(n_items, d_m)`.
            missing: modality -> `(n_items,)` bool.
            rows: `(n,)` int64, or `(n_items,)` bool.
        """
        return self(*_of_rows(features, missing, rows))


def centred_columns(
    centres: Mapping[str, Tensor], features: Mapping[str, Tensor], missing: Mapping[str, Tensor]
) -> Tensor:
    """All modalities side by side, `(n, d)`, less their means; zeros where one is missing."""
    n = len(next(iter(features.values())))
    parts = []
    for name, centre in centres.items():
        part = features[name] - centre if name in features else centre.new_zeros(n, len(centre))
        if name in missing:
            part = part.masked_fill(missing[name].unsqueeze(1), 0.0)
        parts.append(part)
    return torch.cat(parts, dim=1)


def _of_rows(
    features: Mapping[str, Tensor], missing: Mapping[str, Tensor], rows: Tensor
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    of_rows = {name: table[rows] for name, table in features.items()}
    return of_rows, {name: mask[rows] for name, mask in missing.items()}


def fit_content_map(
    item: Tensor,
    features: Mapping[str, Tensor],
    missing: Mapping[str, Tensor],
    trained: Tensor,
    *,
    seed: int = 0,
) -> ContentMap:
    """Ridge regression of item vectors on content, over the items that feedback has shaped.

    Modalities are scaled to the same variance, so that one penalty is fair to all.

    Args:
        item: `(n_items, dim)` representations.
        features: modality -> `(n_items, d_m)`.
        missing: modality -> `(n_items,)` bool.
        trained: `(n,)` int64, the items to learn from; `MOST_ROWS` of more are drawn.
        seed: of that draw.

    Raises:
        DataError: there are no features, or fewer than two items to learn from.
    """
    from sklearn.linear_model import RidgeCV

    if not features or len(trained) < 2:
        raise DataError("content features of two trained items at least are needed for new items")
    if len(trained) > MOST_ROWS:
        rng = torch.Generator().manual_seed(seed)
        trained = trained[torch.randperm(len(trained), generator=rng)[:MOST_ROWS]]
    rows, absent = _of_rows(features, missing, trained)
    centres = {
        name: table[~absent[name] if name in absent else slice(None)].mean(0).nan_to_num()
        for name, table in rows.items()
    }
    widths = {name: len(centre) for name, centre in centres.items()}
    centred = centred_columns(centres, rows, absent)
    scale = torch.cat(
        [
            part.square().mean().sqrt().clamp_min(TINY).expand(part.shape[1])
            for part in centred.split(list(widths.values()), dim=1)
        ]
    )
    ridge = RidgeCV(alphas=PENALTIES).fit((centred / scale).numpy(), item[trained].numpy())
    weight = torch.from_numpy(np.asarray(ridge.coef_, np.float32)).reshape(-1, len(scale)).T
    bias = torch.from_numpy(np.asarray(ridge.intercept_, np.float32)).reshape(-1)
    centre = torch.cat(list(centres.values()))
    return ContentMap(widths, centre, weight / scale.unsqueeze(1), bias, float(ridge.alpha_))
