"""Any column becomes the ids that the user wrote, or is refused by row and value."""

from __future__ import annotations

import decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from crossalign.datasets import DataError
from crossalign.datasets.ids import id_texts, rows_of_ids, tidy_ids

BIG = 2**63 + 5
COLUMNS: dict[str, tuple[Any, list[Any]]] = {
    "int8": (np.array([3, -1, 3], np.int8), [3, -1, 3]),
    "big-endian": (np.array([3, 1], ">i4"), [3, 1]),
    "uint64": (np.array([BIG, 1], np.uint64), [BIG, 1]),
    "whole floats": (np.array([1.0, 2.0, 1.0]), [1, 2, 1]),
    "float16": (np.array([1, 2], np.float16), [1, 2]),
    "text of numbers": (["1.0", "1", "2"], [1, 1, 2]),
    "text of uint64": ([str(BIG), "7"], [BIG, 7]),
    "beyond 64 bits": (["9" * 50, "7"], ["9" * 50, "7"]),
    "more digits than Python reads": (["9" * 5000, "7"], ["9" * 5000, "7"]),
    "negative and huge": ([str(BIG), "-7"], [str(BIG), "-7"]),
    "leading zeros": (["007", "7"], ["007", "7"]),
    "words": (np.array(["b", "a", "b"]), ["b", "a", "b"]),
    "bytes": (np.array([b"b", b"a"]), ["b", "a"]),
    "binary": (pa.array([b"b", "ä".encode()]), ["b", "ä"]),
    "spaces": ([" 3", "3 ", "\u00a03\r"], [3, 3, 3]),
    "inner spaces": ([" a b ", "a b"], ["a b", "a b"]),
    "carriage return and comma": (["a\rb", "a,b"], ["a\rb", "a,b"]),
    "NA is a name": (["NA", "nan", "None"], ["NA", "nan", "None"]),
    "category": (pa.array(["b", "a", "b"]).dictionary_encode(), ["b", "a", "b"]),
    "category of numbers": (pa.array([2, 1, 2]).dictionary_encode(), [2, 1, 2]),
    "chunks of categories": (
        pa.chunked_array([pa.array([name]).dictionary_encode() for name in "ba"]),
        ["b", "a"],
    ),
    "decimal": (pa.array([decimal.Decimal("1.00"), decimal.Decimal("2.00")]), [1, 2]),
    "mixed objects": (np.array([1, "a", 2.0], object), ["1", "a", "2"]),
    "dates are text": (["2024-01-01", "2024-01-02"], ["2024-01-01", "2024-01-02"]),
}  # fmt: skip

REFUSED: dict[str, tuple[Any, str]] = {
    "fraction": (np.array([1.0, 1.5]), "row 1: the id is 1.5: no whole number"),
    "fraction as text": (["1", "1.5"], "row 1: the id is '1.5': no whole number"),
    "infinite": (np.array([1.0, np.inf]), "row 1: the id is inf"),
    "NaN": (np.array([1.0, np.nan]), "row 1: the id is empty"),
    "inexact": (np.array([1.0, 1e17]), r"row 1: the id is 1e\+17: a double holds such a number no"),
    "inexact float32": (np.array([1, 2**25], np.float32), "row 1: .* a float holds"),
    "null": (pa.array(["a", None]), "row 1: the id is empty"),
    "blank": (["a", " "], "row 1: the id is empty"),
    "all null": (pa.array([None, None]), r"row 0: the id is empty \(2 such row"),
    "lists": (pa.array([[1], [2]]), r"row 0: the id is \[1\]: a value of type list"),
    "structures": (pa.array([{"a": 1}]), "row 0: .* a value of type struct"),
    "truth values": (pa.array([True]), "row 0: the id is True: a value of type bool"),
    "times": (pa.array(np.array(["2024-01-01"], "M8[s]")), "a value of type timestamp"),
    "no UTF-8": (pa.array([b"a", b"\xff"]), r"row 1: the id is b'\\xff': no UTF-8"),
    "NUL": (["a", "b\0"], "row 1: the id is .* holds a NUL"),
    "half a letter": (["a", "\ud800"], "row 1: the id is no id"),
    "dates": (np.array(["2024-01-01"], "M8[D]"), r"row 0: the id is no id \(values of type"),
    "no letter": (np.array([97, 2**31], np.uint32).view("U1"), "row 1: the id is no id"),
    "object": (np.array(["a", object()], object), "row 1: the id is no id"),
}


@pytest.mark.parametrize(("column", "wanted"), COLUMNS.values(), ids=COLUMNS)
def test_ids_are_what_was_written(column: Any, wanted: list[Any]) -> None:
    ids = tidy_ids(column)
    assert ids.names[ids.codes].tolist() == wanted
    assert ids.names.tolist() == sorted(set(wanted))


@pytest.mark.parametrize(("column", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_an_id_is_refused_by_row_and_value(column: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        tidy_ids(column)
    assert "\n" not in str(caught.value)


def test_one_long_id_makes_no_other_longer() -> None:
    """A fixed-width array would take 20,000 x 4,000 x 4 bytes, 320 MB."""
    ids = tidy_ids(["x" * 4000, *map(str, range(20_000))])
    assert ids.names.dtype == object
    assert sum(len(name) for name in ids.names) < 200_000


def test_lookups_forgive_spaces_and_point_zero_only_where_nothing_is_called_so() -> None:
    index = pd.Index(id_texts(np.array([1, 2])), dtype=object)
    assert rows_of_ids(index, ["2", "1.0", " 1", "1.5", "01"]).tolist() == [1, 0, 0, -1, -1]
    written = pd.Index(["1.0", "1", "x"], dtype=object)
    assert rows_of_ids(written, ["1.0", "1"]).tolist() == [0, 1]
