"""The examples of `docs/extending.md` compute what they say, and are as short as they say."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from crossalign.graphs.dgl_import import dgl
from crossalign.models import Batch
from crossalign.tensors.representations import Representations

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
LONGEST_LOSS = 24


@pytest.fixture
def names(run_page: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    return run_page("extending")


def test_a_loss_is_a_short_file() -> None:
    """An author writes the mathematics and little else."""
    (code,) = re.findall(
        r'^```python title="align/pull.py"\n(.*?)^```', PAGE.read_text(), re.M | re.S
    )
    assert len(code.splitlines()) <= LONGEST_LOSS


def test_the_loss_is_the_mean_cosine_of_items_and_content(names: dict[str, Any]) -> None:
    """By a loop over the distinct items; an item without an image counts with zero."""
    torch.manual_seed(0)
    user, item, image, text = (torch.randn(n, 4).double() for n in (5, 6, 6, 6))
    users, items = torch.tensor([0, 1, 2, 4]), torch.tensor([3, 1, 3, 5])
    missing = torch.arange(6) == 5
    pull = names["Pull"](4, missing={"image": missing}, weight=0.5)
    terms = pull.terms(user, item, {"image": image, "text": text}, users, items)

    def cosine(table: torch.Tensor, i: int) -> torch.Tensor:
        return torch.cosine_similarity(item[i], table[i], dim=0)

    torch.testing.assert_close(terms["image"], -0.5 * (cosine(image, 1) + cosine(image, 3)) / 3)
    torch.testing.assert_close(terms["text"], -0.5 * sum(cosine(text, i) for i in (1, 3, 5)) / 3)


def test_a_user_of_the_backbone_is_the_mean_of_their_items(names: dict[str, Any]) -> None:
    """And one who took nothing is zero; the ranking loss is that of these rows."""
    torch.manual_seed(0)
    pairs = torch.tensor([[0, 0, 0, 2, 2], [1, 3, 4, 0, 3]])
    (users, items), counts = pairs, {"user": 3, "item": 5}
    edges = {
        ("user", "interacts", "item"): (users, items),
        ("item", "interacted_by", "user"): (items, users),
    }
    graph = dgl.heterograph(edges, num_nodes_dict=counts)
    backbone = names["MeanItem"](graph, {}, dim=4)
    user, item = backbone()
    took = [item[[1, 3, 4]].mean(0), torch.zeros(4), item[[0, 3]].mean(0)]
    torch.testing.assert_close(user, torch.stack(took))

    batch = Batch(torch.tensor([0, 2]), torch.tensor([1, 0]), torch.tensor([2, 1]))
    margin = [user[0] @ (item[1] - item[2]), user[2] @ (item[0] - item[1])]
    bpr = backbone.loss(batch, Representations(user, item))["bpr"]
    torch.testing.assert_close(bpr, -torch.stack(margin).sigmoid().log().mean())
