"""Frames of video files, in the order in which they are decoded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from .extras import extra

Size = tuple[int, int] | int
"""(height, width) in pixels, or the length of the shorter side, which keeps the aspect ratio."""

Box = tuple[float, float, float, float]
"""(top, left, bottom, right) of a crop, as fractions of height and width."""

WHOLE_IMAGE: Box = (0.0, 0.0, 1.0, 1.0)

COMPLETE = 0.9
"""A video with fewer frames than this fraction of the number in its header, less one, is truncated.

Old MPEG-4 files report one frame too many or too few, and damaged frames are skipped; both are accepted.
"""


def video_frames(path: str | PathLike[str], size: Size, *, crop: Box = WHOLE_IMAGE) -> Iterator[np.ndarray]:
    """Every frame that can be decoded, uint8 (H, W, 3): cropped to `crop`, resized to `size` by bilinear
    filtering.

    Frames are decoded in order without seeking, since time stamps of MPEG-4 in AVI have gaps, and in one
    thread, so that equal files give equal bits. Raises DataError if the file has no video or is truncated.
    """
    with opened(path) as container:
        stream = find_stream(container, "video", path)
        stream.thread_type = "NONE"
        count = 0
        for frame in decoded(container, stream):
            yield resized(frame, size, crop)
            count += 1
        if count == 0:
            raise DataError(f"{path}: no frame can be decoded")
        if count + 1 < COMPLETE * stream.frames:
            raise DataError(
                f"{path} is truncated: {count} of {stream.frames} frames can be decoded", "get it again"
            )


def frame_rate(path: str | PathLike[str]) -> float:
    """Frames per second, averaged over the file."""
    with opened(path) as container:
        rate = find_stream(container, "video", path).average_rate
        if not rate:
            raise DataError(f"{path} has no frame rate")
        return float(rate)


def has_audio(path: str | PathLike[str]) -> bool:
    """Whether the file has an audio stream."""
    with opened(path) as container:
        return bool(container.streams.audio)


def resized(frame: Any, size: Size, crop: Box = WHOLE_IMAGE) -> np.ndarray:
    """A decoded frame, rotated by its metadata, cropped to `crop` and resized, uint8 (H, W, 3)."""
    frame = _upright(frame)
    top, left, bottom, right = crop
    height, width = frame.height * (bottom - top), frame.width * (right - left)
    if isinstance(size, int):
        size = round(height * size / min(height, width)), round(width * size / min(height, width))
    whole_height, whole_width = round(size[0] / (bottom - top)), round(size[1] / (right - left))
    whole = frame.reformat(whole_width, whole_height, "rgb24", interpolation="BILINEAR").to_ndarray()
    y, x = (
        min(round(top * whole_height), whole_height - size[0]),
        min(round(left * whole_width), whole_width - size[1]),
    )
    return whole[y : y + size[0], x : x + size[1]]


def _upright(frame: Any) -> Any:
    """Apply the container's rotation metadata."""
    turns = round(getattr(frame, "rotation", 0) / 90) % 4  # anticlockwise; not known to all versions of av
    if not turns:
        return frame
    turned = np.rot90(frame.to_ndarray(format="rgb24"), turns)
    return type(frame).from_ndarray(np.ascontiguousarray(turned), "rgb24")


@contextmanager
def opened(path: str | PathLike[str]) -> Iterator[Any]:
    """Opens a file with FFmpeg; its errors become DataErrors."""
    av = extra("av", "video")
    av.logging.set_level(av.logging.PANIC)
    try:
        if not Path(path).stat().st_size:
            raise DataError(f"{path} is empty (0 bytes)", "get it again")
        with av.open(str(Path(path).absolute()), metadata_errors="ignore") as container:
            yield container
    except OSError as error:  # FFmpeg's errors about files are OSErrors too
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except av.FFmpegError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def decoded(container: Any, stream: Any) -> Iterator[Any]:
    """The frames of `stream`; damaged packets are skipped, as players do."""
    av = extra("av", "video")
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            continue


def find_stream(container: Any, kind: str, path: str | PathLike[str]) -> Any:
    """The first "video" or "audio" stream; raises DataError without one."""
    streams = getattr(container.streams, kind)
    if not streams:
        raise DataError(f"{path} has no {kind} stream")
    return streams[0]
