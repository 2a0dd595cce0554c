"""Views of items: unit rows, what they were before, and which of them are missing."""

import pytest
import torch

from crossalign.align import CROSS, ILALoss
from crossalign.align.rows import ItemViews
from crossalign.errors import ConfigError


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"item": torch.randn(6, 4)}, "tables of the items have 6, 9 rows: give whole tables"),
        ({"text": torch.randn(9, 7)}, "rows of the items and of their content are 4, 4, 7 wide"),
        ({"user": torch.randn(5, 3)}, "rows of the users are 3 wide, but the alignment was built"),
        ({"neighbors": torch.zeros(8, 2).long()}, "tables of the items have 9, 8 rows"),
    ],
)
def test_tables_that_do_not_belong_together_are_refused(change, message):
    """Rows of a batch in place of whole tables, content that nobody projected, another width."""
    given = {"user": torch.randn(5, 4), "item": torch.randn(9, 4), "text": torch.randn(9, 4)}
    given |= {"neighbors": torch.zeros(9, 2).long()} | change
    align = CROSS(4, ("image", "text"), neighbors=given["neighbors"], n_prototypes=8)
    content = {"image": torch.randn(9, 4), "text": given["text"]}
    ids = torch.arange(4)
    with pytest.raises(ConfigError) as refused:
        align(given["user"], given["item"], content, ids, ids)
    assert str(refused.value).startswith(message)
