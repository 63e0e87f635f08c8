"""Image files: single images, and numbered images of a folder as frames of a clip."""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from .endings import truncation
from .video import Size, decoded, find_stream, opened, resized


def image(path: str | PathLike[str], size: Size) -> np.ndarray:
    """The image in a file, uint8 (H, W, 3), turned and mirrored by its EXIF orientation, resized by bilinear
    filtering.
    """
    frame = decoded_image(path)
    turn = _TURNS.get(orientation(path))
    if turn is not None:
        pixels = np.ascontiguousarray(turn(frame.to_ndarray(format="rgb24")))
        frame = type(frame).from_ndarray(pixels, "rgb24")  # without the frame's own rotation
    return resized(frame, size)


def image_frames(folder: str | PathLike[str], size: Size, pattern: str) -> Iterator[np.ndarray]:
    """The images of `image_files(folder, pattern)` in order of their numbers, uint8 (H, W, 3)."""
    for path in image_files(folder, pattern).values():
        yield image(path, size)


def image_files(folder: str | PathLike[str], pattern: str) -> Mapping[int, Path]:
    """Number -> file, in order of the numbers, which need not start at 0 or 1.

    `pattern` is a file name in which the first `*` stands for the number ("img_*.jpg"), further ones for any
    text ("frame_*_tc_*_rgb.jpg"). Raises DataError if no file matches, two files have the same number, or a
    number between the first and the last is missing.
    """
    first, *others = (re.escape(piece) for piece in pattern.split("*"))
    named = re.compile(first + r"(\d+)" + ".*".join(others))
    found: dict[int, Path] = {}
    try:
        paths = sorted(Path(folder).iterdir())
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}") from error
    for path in paths:
        if match := named.fullmatch(path.name):
            number = int(match[1])
            if number in found:
                raise DataError(f"{folder}: {found[number].name} and {path.name} have the same number")
            found[number] = path
    if not found:
        raise DataError(f"{folder} has no file named like {pattern}")
    first_number, last = min(found), max(found)
    missing = last - first_number + 1 - len(found)
    if missing:
        gaps = (number for number in itertools.count(first_number) if number not in found)
        listed = ", ".join(map(str, itertools.islice(gaps, min(missing, 5)))) + (
            ", ..." if missing > 5 else ""
        )
        raise DataError(
            f"{folder}: {missing} of {pattern} from {first_number} to {last} are missing: {listed}"
        )
    return dict(sorted(found.items()))


def decoded_image(path: str | PathLike[str]) -> Any:
    """The frame that FFmpeg decodes from an image file; raises DataError where the file is truncated."""
    with opened(path) as container:
        stream = find_stream(container, "video", path)
        if within := truncation(path, container.format.name):
            raise DataError(f"{path} is truncated: it ends within {within}", "get it again")
        for frame in decoded(container, stream, path):
            return frame
    raise DataError(f"{path} holds no image that can be decoded")


_ORIENTATION = 0x112  # the number of the tag

_TURNS: Mapping[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).transpose(1, 0, 2),
    8: lambda pixels: np.rot90(pixels, 1),
}
"""EXIF orientation -> the upright image of stored pixels (H, W, C)."""


def orientation(path: str | PathLike[str]) -> int:
    """EXIF orientation of a JPEG, PNG, WebP or TIFF file; 1, upright, if it has none.

    FFmpeg reports only the rotation, not that an image is mirrored.
    """
    content = Path(path).read_bytes()
    magics = {b"\xff\xd8": b"Exif\0\0", b"\x89PNG": b"eXIf", b"RIFF": b"EXIF", b"II*\0": b"", b"MM\0*": b""}
    mark = next((mark for magic, mark in magics.items() if content.startswith(magic)), None)
    at = -1 if mark is None else content.find(mark)
    start = re.search(rb"II\*\0|MM\0\*", content[at : at + 20])
    if at < 0 or start is None:
        return 1
    data = memoryview(content)[at + start.start() :]
    order = "<" if start[0][:1] == b"I" else ">"
    try:
        (folder,) = struct.unpack_from(order + "4xI", data)
        (count,) = struct.unpack_from(order + "H", data, folder)
        entries = [struct.unpack_from(order + "H6xH", data, folder + 2 + 12 * n) for n in range(count)]
    except struct.error:  # damaged, or not what it looks like
        return 1
    return dict(entries).get(_ORIENTATION, 1)
