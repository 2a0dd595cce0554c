"""Views of items: unit rows, what they were before, and which of them are missing."""

import pytest
import torch

from crossalign.align import CROSS, ILALoss
from crossalign.align.batch import Batch, Views
from crossalign.errors import ConfigError
from crossalign.tensors.tables import Tables


def test_views_are_unit_rows_and_absent_rows_are_zero(problem):
    p = problem(2, missing=True)
    masks = [None, *p.missing.values()]
    views = Views.read((p.item, *p.content), torch.arange(11), masks).unit
    for m, rows in enumerate(views.rows):
        torch.testing.assert_close(rows.norm(dim=1), views.present[m].double())


def test_raw_views_are_the_rows_as_they_stand_in_the_tables(problem):
    p = problem(2, missing=True)
    items = torch.tensor([9, 1, 4, 1])
    tables = Tables(p.user, p.item, dict(zip(p.names, p.content, strict=True)))
    batch = Batch(tables, p.missing, None, items, lambda ids: torch.arange(11))
    views = batch.raw_views
    for rows, table, present in zip(views.rows, (p.item, *p.content), views.present, strict=True):
        torch.testing.assert_close(rows, table[[1, 4, 9]] * present.unsqueeze(1))


def test_every_row_of_a_batch_is_read_once_and_only_when_asked_for(problem):
    p = problem(2)
    asked = []

    class Counted:
        def __getitem__(self, ids):
            asked.append(ids.tolist())
            return p.content[0][ids]

    tables = Tables(p.user, p.item, {"image": Counted()})
    batch = Batch(tables, {}, p.users, p.items)
    assert batch.users.ids.numel()
    assert not asked
    for _ in range(2):
        assert batch.views.rows[1].requires_grad
        assert batch.raw_views.rows[1].requires_grad
        assert batch.around.rows[1].requires_grad
    assert asked == [p.items.unique().tolist()]


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
        ({"item": torch.randn(6, 4)}, "tables of the items have 6, 9, 9 rows: give whole tables"),
        ({"text": torch.randn(9, 7)}, "rows of the items and of their content are 4, 4, 7 wide"),
        ({"user": torch.randn(5, 3)}, "rows of the users are 3 wide, but the alignment was built"),
        ({"neighbors": torch.zeros(8, 2).long()}, "neighbors are of 8 items, but the tables of"),
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
