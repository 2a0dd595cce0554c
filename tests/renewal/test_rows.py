"""Which tables have rows of users and items, for every backbone; where new rows begin."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from torch import nn

from crossalign.components import make_modules
from crossalign.config import load_config
from crossalign.datasets import Dataset, load_dataset
from crossalign.errors import RunError
from crossalign.models import BACKBONES
from crossalign.models.base import Backbone, RowTables
from crossalign.renewal.placing import place_new_rows
from crossalign.renewal.refusals import refuse_other_shapes
from crossalign.renewal.rows import Ids, RowMap, carry_moments, side_of_tables


def row_map(*source: int, n_before: int) -> RowMap:
    return RowMap(torch.tensor(source), n_before)


def test_ids_are_matched_as_they_are_written() -> None:
    rows = RowMap.of_ids(
        torch.tensor([5, 7, 9]).numpy().astype(str), torch.tensor([9, 1, 5]).numpy().astype(str)
    )
    assert rows.source.tolist() == [2, -1, 0]
    assert rows.new.tolist() == [1]
    assert rows.counts() == {"known": 2, "new": 1, "gone": 1}


def test_moved_rows_and_fresh_ones() -> None:
    rows = row_map(2, -1, 0, n_before=3)
    before, fresh = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[7.0], [8.0], [9.0]])
    assert rows.moved(before, fresh).flatten().tolist() == [3.0, 8.0, 1.0]


def test_new_moments_are_the_usual_second_ones() -> None:
    ids = Ids(row_map(1, -1, n_before=2), row_map(0, n_before=1))
    state = {
        "step": torch.tensor(5.0),
        "exp_avg": torch.tensor([[1.0], [2.0]]),
        "exp_avg_sq": torch.tensor([[3.0], [5.0]]),
    }
    found = carry_moments({"backbone.t": state, "alignment.p": state}, {"backbone.t": "user"}, ids)
    assert found["backbone.t"]["exp_avg"].flatten().tolist() == [2.0, 0.0]
    assert found["backbone.t"]["exp_avg_sq"].flatten().tolist() == [5.0, 5.0]
    assert found["alignment.p"]["exp_avg"] is state["exp_avg"]


@pytest.mark.parametrize("name", BACKBONES.names())
def test_every_backbone_can_be_carried_over(weeks, name) -> None:
    """Each table has its old shape, or as many rows as there are users or items."""
    config = load_config(weeks / "run" / "config.yaml", backbone=name)
    states, ids = [], []
    for week in ("one", "two"):
        dataset = load_dataset(weeks / week, options=config.data)
        backbone, _ = make_modules(config, dataset)
        states.append(nn.ModuleDict({"backbone": backbone}).state_dict())
        ids.append((dataset.user_ids, dataset.item_ids))
    before, now = states
    maps = Ids(*(RowMap.of_ids(old, new) for old, new in zip(*ids, strict=True)))
    refuse_other_shapes(weeks / "run", config, before, now, maps)
    sides = side_of_tables(backbone, before, now, maps)
    assert set(sides) == {name for name in now if now[name].shape != before[name].shape}
    assert "user" in sides.values()


def tables_of(n_users: int, n_items: int) -> dict[str, torch.Tensor]:
    return {"backbone.a": torch.zeros(n_users, 2), "backbone.b": torch.zeros(n_items, 2)}


def test_a_doubt_about_rows_is_refused_unless_declared_or_without_effect() -> None:
    """As many users as items, or as many prototypes as users, then and now."""
    ids = Ids(row_map(1, 0, -1, n_before=2), row_map(0, 1, -1, n_before=2))
    with pytest.raises(RunError, match=r"3 rows of backbone\.a are"):
        side_of_tables(Backbone(), tables_of(2, 2), tables_of(3, 3), ids)

    class Declared(Backbone):
        row_tables: ClassVar[RowTables] = {"a": "item", "b": "user"}

    found = side_of_tables(Declared(), tables_of(2, 2), tables_of(3, 3), ids)
    assert found == {"backbone.a": "item", "backbone.b": "user"}
    same = Ids(row_map(0, 1, n_before=2), row_map(0, 1, n_before=2))
    side_of_tables(Backbone(), tables_of(2, 2), tables_of(2, 2), same)
    swapped = Ids(row_map(1, 0, n_before=2), row_map(0, 1, 2, n_before=3))
    with pytest.raises(RunError, match=r"2 rows of backbone\.a are"):
        side_of_tables(Backbone(), tables_of(2, 3), tables_of(2, 3), swapped)


def test_new_rows_continue_a_linear_world() -> None:
    """Item rows that are linear in content, user rows that are linear in their items' mean."""
    rng = torch.Generator().manual_seed(0)
    n_users, n_items = 300, 80
    content = torch.randn(n_items, 5, generator=rng)
    item = content @ torch.randn(5, 4, generator=rng) + 2
    chosen = torch.rand(n_users, n_items, generator=rng).argsort(dim=1)[:, :6]
    user = item[chosen].mean(1) @ torch.randn(4, 3, generator=rng) - 1
    users = torch.arange(n_users).repeat_interleave(6)
    pairs = torch.stack([users, chosen.flatten()])
    dataset = Dataset(
        "linear", n_users, n_items, pairs, pairs[:, :0], pairs[:, :0], {"text": content}
    )
    ids = Ids(
        RowMap(torch.where(torch.arange(n_users) < 250, torch.arange(n_users), -1), 250),
        RowMap(torch.where(torch.arange(n_items) % 5 > 0, torch.arange(n_items), -1), 80),
    )
    tables = {"backbone.user": user.clone(), "backbone.item": item.clone()}
    tables["backbone.user"][ids.user.new] = 9.0
    tables["backbone.item"][ids.item.new] = 9.0
    sides = {"backbone.user": "user", "backbone.item": "item"}
    assert place_new_rows(tables, sides, ids, dataset, 0) == {
        "items": "content",
        "users": "history",
    }
    torch.testing.assert_close(tables["backbone.item"], item, atol=0.02, rtol=0)
    torch.testing.assert_close(tables["backbone.user"], user, atol=0.02, rtol=0)
