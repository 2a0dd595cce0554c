"""The views that a trained run has of its items and users, as rows of length one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..align.base import Alignment
from ..datasets.dataset import Dataset
from ..models.base import Backbone
from ..tensors.functional import unit_rows
from ..tensors.tables import Table, Tables, read_rows

ROWS_AT_ONCE = 4096
"""Items projected at a time."""


@dataclass(frozen=True)
class Views:
    """Unit rows of one trained run, on the CPU.

    Attributes:
        user: `(n_users, dim)` representations.
        items: view name -> `(n_items, dim)`; `id`, the item representations, comes first, then
            each modality as the projectors of the run show it.
        present: view name -> `(n_items,)` bool, False where an item lacks the modality; its row
            is zero.
        pairs: `(2, n)` training pairs.
    """

    user: Tensor
    items: Mapping[str, Tensor]
    present: Mapping[str, Tensor]
    pairs: Tensor

    def both(self, first: str, second: str) -> Tensor:
        """Ids of the items that two views have, `(n,)` int64."""
        return (self.present[first] & self.present[second]).nonzero().squeeze(1)


@torch.no_grad()
def run_views(dataset: Dataset, backbone: Backbone, alignment: Alignment | None) -> Views:
    """All views of a trained backbone and its alignment.

    Modalities are seen through the projectors of an alignment that reads them, else
    through the backbone's own; a backbone alone that projects nothing has the view `id` only.
    """
    backbone.eval()
    user, item = backbone.aligned()
    if alignment is None or not alignment.reads_content:
        tables: dict[str, Table] = dict(backbone.modalities())
    else:
        content = backbone.content(dataset.features)
        tables = dict(alignment.projected(Tables(user, item, content)).modalities)
    present = {"id": torch.ones(dataset.n_items, dtype=torch.bool)}
    items = {"id": unit_rows(item)}
    for name, table in tables.items():
        absent = dataset.missing.get(name, torch.zeros(dataset.n_items, dtype=torch.bool))
        present[name] = ~absent
        items[name] = unit_rows(_read_all(table, absent))
    return Views(unit_rows(user), items, present, dataset.train)


def _read_all(table: Table, absent: Tensor) -> Tensor:
    """Every row of `table`, a block at a time; those marked `absent` are zero, unread."""
    blocks = torch.arange(len(absent)).split(ROWS_AT_ONCE)
    return torch.cat([read_rows(table, ids, absent[ids]) for ids in blocks])
