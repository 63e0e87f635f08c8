"""Arrow arrays from NumPy arrays, strings and bytes, and back.

The conversions of pyarrow import pandas where it is installed, which takes a second in each process.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa


def from_numpy(values: np.ndarray) -> pa.Array:
    """Numbers (N,), as an array of the same type."""
    import pyarrow as pa

    buffer = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, buffer])


def from_strings(values: Sequence[str]) -> pa.Array:
    """Strings, as an array of type string."""
    import pyarrow as pa

    encoded = [value.encode() for value in values]
    return _binary(pa.string(), encoded, np.dtype(np.int32))


def from_lists(values: Sequence[Sequence[Any]]) -> pa.Array:
    """Lists of bytes-like objects, as an array of type list<large_binary>."""
    import pyarrow as pa

    items = _binary(pa.large_binary(), [item for items in values for item in items], np.dtype(np.int64))
    offsets = pa.py_buffer(_offsets(values, np.dtype(np.int32)))
    kind = pa.list_(pa.large_binary())
    return pa.Array.from_buffers(kind, len(values), [None, offsets], children=[items])


def to_numpy(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Numbers (N,) of a column; raises ValueError if some are missing."""
    if column.null_count:
        raise ValueError(f"{column.null_count} of {len(column)} numbers are missing")
    dtype = np.dtype(column.type.to_pandas_dtype())
    chunks = column.chunks if hasattr(column, "chunks") else [column]
    parts = [np.frombuffer(c.buffers()[1], dtype)[c.offset : c.offset + len(c)] for c in chunks if len(c)]
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, dtype), *parts])


def _binary(kind: pa.DataType, items: Sequence[Any], dtype: np.dtype) -> pa.Array:
    import pyarrow as pa

    buffers = [None, pa.py_buffer(_offsets(items, dtype)), pa.py_buffer(b"".join(items))]
    return pa.Array.from_buffers(kind, len(items), buffers)


def _offsets(items: Sequence[Any], dtype: np.dtype) -> np.ndarray:
    """Where each of the items starts and ends when they are joined."""
    offsets = np.zeros(len(items) + 1, dtype)
    np.cumsum([len(item) for item in items], out=offsets[1:])
    return offsets
