"""What is not whole tables of one precision and ids of pairs is refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from crossalign.align import CROSS, CLALoss, CNALoss, ILALoss
from crossalign.errors import ConfigError

DIM, N_USERS, N_ITEMS, N_PAIRS = 4, 12, 9, 40


class Call(NamedTuple):
    """Arguments of a loss, by name."""

    user: Any
    item: Any
    image: Any
    text: Any
    users: Any
    items: Any


def call() -> Call:
    tables = (torch.randn(n, DIM) for n in (N_USERS, N_ITEMS, N_ITEMS, N_ITEMS))
    users, items = torch.randint(N_USERS, (N_PAIRS,)), torch.randint(N_ITEMS, (N_PAIRS,))
    users[0], items[0] = N_USERS - 1, N_ITEMS - 1
    return Call(*tables, users, items)


def neighbors() -> Tensor:
    return torch.randint(N_ITEMS, (N_ITEMS, 3))


LOSSES: dict[str, Callable[[Call], Tensor]] = {
    "ILALoss": lambda c: ILALoss(DIM)(*c),
    "CLALoss": lambda c: CLALoss(6, DIM)(*c),
    "CNALoss": lambda c: CNALoss(neighbors())(c.item, c.image, c.text, c.items),
    "CROSS": lambda c: CROSS(DIM, neighbors=neighbors(), n_prototypes=6)(
        c.user, c.item, {"image": c.image, "text": c.text}, c.users, c.items
    ),
}
every_loss = pytest.mark.parametrize("loss", LOSSES)


def refused(loss: str, given: Call) -> str:
    with pytest.raises(ConfigError) as error:
        LOSSES[loss](given)
    assert "\n" not in str(error.value)
    return str(error.value)


@every_loss
def test_the_call_itself_is_right(loss: str) -> None:
    """Else the tests below would hold of anything."""
    assert LOSSES[loss](call()).isfinite()


@every_loss
def test_rows_of_the_batch_are_no_tables(loss: str) -> None:
    """They have a row for each pair, which ids of the catalogue would pick the wrong ones from."""
    c = call()
    items = (table[c.items] for table in (c.item, c.image, c.text))
    assert "give whole tables" in refused(loss, Call(c.user[c.users], *items, c.users, c.items))


@every_loss
def test_rows_of_a_small_batch_are_no_tables(loss: str) -> None:
    """Fewer pairs than items: an id is outside."""
    c = call()
    users, items = c.users[:5], c.items[:5]
    rows = (table[items] for table in (c.item, c.image, c.text))
    assert "give whole tables" in refused(loss, Call(c.user[users], *rows, users, items))


@pytest.mark.parametrize("loss", ["ILALoss", "CLALoss"])
def test_a_catalogue_as_large_as_the_batch_is_one(loss: str) -> None:
    """Only repeated ids with equal rows say that rows were picked already."""
    c = call()
    tables = (torch.randn(N_PAIRS, DIM) for _ in range(4))
    assert LOSSES[loss](Call(*tables, c.users, c.items)).isfinite()


@every_loss
def test_users_and_items_that_changed_places(loss: str) -> None:
    """In the words that CROSS has for it."""
    c = call()
    message = refused(loss, c._replace(users=c.items, items=c.users))
    assert f"item id {N_USERS - 1} is outside the table of the items, which has 9 rows" in message


@every_loss
@pytest.mark.parametrize("what", ["item", "image", "items"])
@pytest.mark.parametrize("convert", [Tensor.numpy, Tensor.tolist], ids=["array", "list"])
def test_arrays_and_lists_are_not_tensors(loss: str, what: str, convert: Any) -> None:
    """The line says what it got and how to make a tensor of it."""
    c = call()
    message = refused(loss, c._replace(**{what: convert(getattr(c, what))}))
    kind = {"numpy": "ndarray", "tolist": "list"}[convert.__name__]
    assert message.startswith(f"{loss} was called with {kind}: give tensors")


@every_loss
def test_arrays_alone_are_refused_too(loss: str) -> None:
    """There is no tensor among them to take a device from."""
    assert "called with ndarray" in refused(loss, Call(*(x.numpy() for x in call())))


@every_loss
@pytest.mark.parametrize("kind", [torch.float32, torch.bool])
def test_ids_are_whole_numbers(loss: str, kind: torch.dtype) -> None:
    c = call()
    assert f"item ids are {kind}" in refused(loss, c._replace(items=c.items.to(kind)))


@every_loss
def test_ids_are_one_vector(loss: str) -> None:
    c = call()
    assert "one vector" in refused(loss, c._replace(items=c.items.view(2, -1)))


@every_loss
def test_content_of_another_precision(loss: str) -> None:
    c = call()
    message = refused(loss, c._replace(text=c.text.double()))
    assert "items and of their content are float32, float32, float64" in message


@pytest.mark.parametrize("loss", ["ILALoss", "CLALoss", "CROSS"])
def test_users_of_another_precision(loss: str) -> None:
    c = call()
    message = refused(loss, c._replace(user=c.user.double()))
    assert "tables of the users and of the items are float64, float32" in message


@pytest.mark.parametrize("loss", ["ILALoss", "CLALoss", "CROSS"])
def test_tables_of_another_precision_than_the_parameters(loss: str) -> None:
    tables = (x.double() for x in call()[:4])
    assert "give it .to(torch.float64)" in refused(loss, Call(*tables, *call()[4:]))


def test_neighbour_level_follows_the_precision_of_its_tables() -> None:
    """It has no parameters that rows are multiplied with."""
    c = call()
    cna = CNALoss(neighbors())
    found = cna(c.item.double(), c.image.double(), c.text.double(), c.items)
    torch.testing.assert_close(found, cna(c.item, c.image, c.text, c.items).double())


def test_content_of_an_alignment_is_a_mapping() -> None:
    c = call()
    align = CROSS(DIM, neighbors=neighbors(), n_prototypes=6)
    with pytest.raises(ConfigError, match="content is list: give a mapping of modality to table"):
        align(c.user, c.item, [c.image, c.text], c.users, c.items)
