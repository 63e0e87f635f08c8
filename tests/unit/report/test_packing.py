from __future__ import annotations

import base64
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmbench.errors import RecordError, UsageError
from pmbench.report.packing import pack, unpack


@given(st.lists(st.integers(0, 65535), max_size=300))
def test_packing_roundtrip(indices: list[int]) -> None:
    array = np.array(indices, dtype=np.int64)
    packed = pack(array)
    assert unpack(packed, len(indices)).tolist() == indices
    assert pack(array.astype(np.int32)) == packed


def test_the_format_is_little_endian_uint16() -> None:
    assert zlib.decompress(base64.b64decode(pack(np.array([1, 258])))) == b"\x01\x00\x02\x01"


@pytest.mark.parametrize("indices", [[-1], [65536], [0.5], [[1, 2]]])
def test_invalid_indices_are_refused(indices: list[object]) -> None:
    with pytest.raises(UsageError, match="cannot pack"):
        pack(np.array(indices))


@pytest.mark.parametrize("count", [0, 1, 2, 4, 100])
def test_another_number_of_samples_than_declared_is_an_error(count: int) -> None:
    with pytest.raises(RecordError, match=f"where {count} are declared"):
        unpack(pack(np.array([1, 2, 3])), count)


@pytest.mark.parametrize("text", ["", "no base64!", "é", base64.b64encode(b"no zlib").decode()])
def test_damaged_text_is_a_record_error(text: str) -> None:
    with pytest.raises(RecordError):
        unpack(text, 3)


def test_a_decompression_bomb_is_not_inflated() -> None:
    bomb = base64.b64encode(zlib.compress(bytes(50_000_000), 9)).decode()
    with pytest.raises(RecordError, match="more samples where 3"):
        unpack(bomb, 3)
