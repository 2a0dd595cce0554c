"""Work done ahead: in order, by one thread, no further than asked for, and its errors arrive."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from crossalign.training.ahead import made_ahead


def test_everything_comes_once_and_in_order() -> None:
    assert list(made_ahead(iter(range(10)))) == list(range(10))
    assert list(made_ahead(iter([]))) == []


def test_one_other_thread_makes_all() -> None:
    makers = list(made_ahead(threading.get_ident() for _ in range(5)))
    assert len(set(makers)) == 1
    assert threading.get_ident() not in makers


def test_no_more_than_n_are_made_ahead() -> None:
    made = []

    def items() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            yield number

    for used, _ in enumerate(made_ahead(items(), n=3), start=1):
        assert len(made) <= used + 3


def test_an_error_comes_where_its_item_would_have() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError("the second")

    got = made_ahead(items())
    assert next(got) == 1
    with pytest.raises(ZeroDivisionError, match="the second"):
        next(got)


def test_whoever_leaves_early_leaves_no_thread_behind() -> None:
    got = made_ahead(iter(range(100)))
    next(got)
    got.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]
