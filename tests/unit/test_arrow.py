"""Arrow arrays without pandas."""

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given

from pmbench import arrow


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8"])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_numbers_are_those_of_pyarrow(dtype, count):
    values = np.arange(2 * count).astype(dtype)[::2]
    assert arrow.from_numpy(values).equals(pa.array(values))
    for column in (pa.array(values), pa.chunked_array([values, values[1:]]), pa.array(values)[1:]):
        found = arrow.to_numpy(column)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, np.asarray(column))


def test_a_column_without_chunks_has_no_numbers():
    assert arrow.to_numpy(pa.chunked_array([], pa.float32())).tolist() == []


def test_missing_numbers_are_refused():
    with pytest.raises(ValueError, match="1 of 3 numbers are missing"):
        arrow.to_numpy(pa.array([1.0, None, 2.0]))


@given(st.lists(st.text()))
def test_strings_are_those_of_pyarrow(values):
    assert arrow.from_strings(values).equals(pa.array(values, pa.string()))


@given(st.lists(st.lists(st.binary())))
def test_lists_are_those_of_pyarrow(values):
    assert arrow.from_lists(values).equals(pa.array(values, pa.list_(pa.large_binary())))


def test_pandas_is_not_imported(afresh):
    code = (
        "import sys, numpy as np; from pmbench import arrow\n"
        "arrow.to_numpy(arrow.from_numpy(np.ones(3)))\n"
        "arrow.from_strings(['a']), arrow.from_lists([[b'a']])\n"
        "print('pandas' in sys.modules)"
    )
    assert afresh(code) == "False"
