"""Image files with the numbers that they hold: 8 bit, 16 bit or float, of any number of channels."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from .extras import extra
from .images import decoded_image
from .video import Size, resized

TIFFS = (".tif", ".tiff")
MOST_CHANNELS = 512
"""Largest number of channels; a longer last axis is taken for the width."""


def pixels(path: str | PathLike[str]) -> np.ndarray:
    """The image in a file as stored, (H, W, C): uint8, uint16 or float32.

    Reads PNG, JPEG and other formats of FFmpeg, TIFF of any number of channels (needs `pmbench[tiff]`), and
    NumPy arrays (H, W), (H, W, C) or (C, H, W). Raises DataError for other numbers: those of 32 or 64 bits
    that float32 does not hold exactly, and complex ones.
    """
    suffix = Path(path).suffix.lower()
    if suffix in TIFFS:
        return _plain(_tiff(path), path)
    if suffix == ".npy":
        try:
            return _plain(np.load(path, allow_pickle=False), path)
        except Exception as error:  # a damaged head can raise almost any
            raise DataError(f"{path} is not an .npy file of numbers: {error}") from error
    return frame_pixels(decoded_image(path))


def frame_pixels(frame: Any) -> np.ndarray:
    """The numbers of a frame of FFmpeg, (H, W, C): uint16 for 9 to 16 bits, else uint8; alpha is left out."""
    name = frame.format.name
    deep = max(component.bits for component in frame.format.components) > 8
    grey = name.startswith(("gray", "ya", "mono"))
    wanted = {(True, True): "gray16le", (True, False): "gray"}.get(
        (grey, deep), "rgb48le" if deep else "rgb24"
    )
    array = frame.to_ndarray(format=wanted)
    return array[..., None] if array.ndim == 2 else array


def scaled(array: np.ndarray, size: Size) -> np.ndarray:
    """uint8 (H, W, 1 or 3) -> (*size, 3) by bilinear filtering."""
    av = extra("av", "video")
    colors = np.ascontiguousarray(np.broadcast_to(array, (*array.shape[:2], 3)))
    return resized(av.VideoFrame.from_ndarray(colors, "rgb24"), size)


def nearest(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, C) -> (*size, C) by nearest neighbor, so that all numbers are numbers of the file."""
    rows, columns = (
        ((np.arange(wanted) + 0.5) / wanted * there).astype(int)
        for wanted, there in zip(size, array.shape[:2], strict=True)
    )
    return array[rows][:, columns]


def _tiff(path: str | PathLike[str]) -> np.ndarray:
    tifffile = extra("tifffile", "tiff")
    try:
        with tifffile.TiffFile(path) as file:
            if not file.series:
                raise DataError(f"{path} holds no image")
            return file.series[0].asarray()
    except DataError:
        raise
    except Exception as error:  # its own class, ValueError, struct.error, IndexError ... for damaged files
        hint = "pip install imagecodecs" if "imagecodecs" in str(error) else None
        raise DataError(f"{path} cannot be read: {error}", hint) from error


def _plain(array: np.ndarray, path: object) -> np.ndarray:
    """The array as (H, W, C), uint8, uint16 or float32; raises DataError if it holds other numbers."""
    shape = array.shape
    array = np.squeeze(array) if array.ndim > 3 else array
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.size == 0:
        raise DataError(f"{path} holds an array of shape {shape}; expected one image")
    if array.shape[0] < min(array.shape[1:]) and array.shape[0] <= MOST_CHANNELS:
        array = array.transpose(1, 2, 0)
    if array.dtype.kind == "b":
        return array.astype(np.uint8) * 255
    if array.dtype.kind not in "uif":
        raise DataError(f"{path} holds {array.dtype}; expected real numbers")
    if array.dtype in (np.uint8, np.uint16):
        return array
    exact = array.astype(np.float32)
    if not (exact.astype(array.dtype) == array).all() and array.dtype.kind != "f":
        raise DataError(
            f"{path} holds {array.dtype} from {array.min()} to {array.max()}, which 32-bit floats do not "
            "hold exactly",
            "store smaller numbers, such as differences from a constant",
        )
    if not np.isfinite(exact).all():
        raise DataError(f"{path} holds numbers that are not finite")
    return exact
