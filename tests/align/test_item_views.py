"""Views of items: unit rows, what they were before, and which of them are missing."""

import torch

from crossalign.align import ILALoss
from crossalign.align.rows import ItemViews


def test_views_are_unit_rows_and_absent_rows_are_zero(problem):
    p = problem(2, missing=True)
    views = ItemViews.gather(p.item, p.content, torch.arange(11), list(p.missing.values()))
    for m, rows in enumerate(views.rows):
        torch.testing.assert_close(rows.norm(dim=1), views.present[m].double())


def test_unscaled_views_are_the_rows_that_were_read(problem):
    p = problem(2, missing=True)
    ids = torch.tensor([1, 4, 9])
    views = ItemViews.gather(p.item, p.content, ids, list(p.missing.values())).unscaled()
    tables = (p.item, *p.content)
    for rows, table, present in zip(views.rows, tables, views.present, strict=True):
        torch.testing.assert_close(rows, table[ids].detach() * present.unsqueeze(1))
        assert not rows.requires_grad


def test_missing_masks_in_order_or_by_name(problem):
    p = problem(2, missing=True)
    ila = ILALoss(4, 0.1, True, p.names).double()
    args = (p.user, p.item, *p.content, p.users, p.items)
    by_name = ila(*args, missing={"text": p.missing["text"]})
    in_order = ila(*args, missing=[None, p.missing["text"]])
    torch.testing.assert_close(by_name, in_order)
    assert not torch.isclose(by_name, ila(*args)), "the mask has no effect"
