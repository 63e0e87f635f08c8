"""Class indices of many samples as compact text: base64 of zlib of little-endian uint16."""

from __future__ import annotations

import base64
import binascii
import zlib

import numpy as np

from ..errors import RecordError, UsageError

LARGEST = 2**16 - 1


def pack(indices: np.ndarray) -> str:
    """(N,) whole numbers 0..65535 -> text; raises UsageError for other arrays."""
    indices = np.asarray(indices)
    if indices.ndim != 1 or (indices.size and indices.dtype.kind not in "iu"):
        raise UsageError(f"cannot pack {indices.dtype} {indices.shape}; expected whole numbers (N,)")
    if indices.size and (indices.min() < 0 or indices.max() > LARGEST):
        raise UsageError(f"cannot pack {indices.min()}..{indices.max()}; expected 0..{LARGEST}")
    return base64.b64encode(zlib.compress(indices.astype("<u2").tobytes(), 9)).decode("ascii")


def unpack(text: str, count: int) -> np.ndarray:
    """Text of `pack` -> (count,) int64; raises RecordError unless it holds `count` indices."""
    try:
        packed = base64.b64decode(text, validate=True)
        inflate = zlib.decompressobj()
        # One byte more than expected reveals a longer text without inflating all of it.
        raw = inflate.decompress(packed, 2 * count + 1)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise RecordError(f"packed class indices cannot be read: {error}") from error
    if len(raw) != 2 * count or not inflate.eof:
        found = "more" if len(raw) > 2 * count else f"{len(raw) // 2}"
        raise RecordError(f"packed class indices hold {found} samples where {count} are declared")
    return np.frombuffer(raw, "<u2").astype(np.int64)
