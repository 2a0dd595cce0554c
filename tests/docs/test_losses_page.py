"""What `docs/losses.md` prints is what its equations say."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import published_losses
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from crossalign.align import ALIGNERS


@pytest.fixture
def page(run_page: Callable[..., dict[str, Any]]) -> SimpleNamespace:
    """The names of the page; numbers behind its `print` lines are compared as it runs."""
    return SimpleNamespace(**run_page("losses"))


def test_the_losses_of_the_page_equal_the_equations(page: SimpleNamespace) -> None:
    """Whole matrices and autograd, as published, on the tables of the page."""
    tables = {"id": page.item, "image": page.image, "text": page.text}
    pairs = page.users, page.items
    maps = {tuple(name.split("_to_")): layer.weight for name, layer in page.item_level.maps.items()}
    parts = published_losses.ila_dt(
        page.user, tables, maps, page.item_level.temperature, *pairs, leaky_bi=True
    )
    close(page.item_level(page.user, *tables.values(), *pairs), sum(parts))

    loss = page.cluster_level
    books = loss.prototypes_user_item, loss.prototypes_modalities
    parts = published_losses.cla(page.user, tables, *books, loss.temperature, *pairs)
    close(loss(page.user, *tables.values(), *pairs), sum(parts))

    alike = torch.full((5,), 0.2)
    contrast, _ = published_losses.cna(tables, page.neighbors, alike, 0.2, page.items)
    close(page.neighbor_level(*tables.values(), page.items), contrast)

    distinct = page.items.unique()
    rows = [normalize(table)[distinct] for table in tables.values()]
    own = torch.arange(len(distinct))
    both = [cross_entropy(a @ b.T / 0.2, own) for a in rows for b in rows if a is not b]
    close(page.contrast(*tables.values(), page.items), sum(both))


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_every_alignment_has_the_whole_form(request: pytest.FixtureRequest) -> None:
    """What it is, call, terms, advice and options, under its own heading."""
    text = (request.config.rootpath / "docs" / "losses.md").read_text()
    for name in ALIGNERS.names():
        (form,) = (part for part in text.split("\n### ") if part.startswith(f"{name}\n"))
        for part in ("**Equation.**", "**Call.**", "**Terms.**", "**Advice.**", "```python"):
            assert part in form, (name, part)
        assert f"<!-- options: alignment {name} -->" in form
        assert "**Paper.**" in form or name == "composed"
