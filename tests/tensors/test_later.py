"""Each stand-in is the library that its name stands for."""

import pandas
import pyarrow
import pyarrow.compute
import pytest
import scipy.sparse

from crossalign.tensors import later


@pytest.mark.parametrize(
    ("name", "module", "attribute"),
    [
        ("pa", pyarrow, "large_string"),
        ("pc", pyarrow.compute, "utf8_trim"),
        ("pd", pandas, "DataFrame"),
        ("sp", scipy.sparse, "csr_matrix"),
    ],
)
def test_a_stand_in_gives_what_the_library_has(name, module, attribute):
    stand_in = getattr(later, name)
    assert getattr(stand_in, attribute) is getattr(module, attribute)
    with pytest.raises(AttributeError, match="no_such_thing"):
        stand_in.no_such_thing


def test_all_of_them_are_tried_above():
    assert later.__all__ == ["pa", "pc", "pd", "sp"]
