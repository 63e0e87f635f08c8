"""Frames of video files, in the order in which they are decoded."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from .complete import Progress
from .extras import extra

Size = tuple[int, int] | int
"""(height, width) in pixels, or the length of the shorter side, which keeps the aspect ratio."""

Box = tuple[float, float, float, float]
"""(top, left, bottom, right) of a crop, as fractions of height and width."""

WHOLE_IMAGE: Box = (0.0, 0.0, 1.0, 1.0)


def video_frames(
    path: str | PathLike[str], size: Size, *, crop: Box = WHOLE_IMAGE, fps: float | None = None
) -> Iterator[np.ndarray]:
    """Every frame that can be decoded, uint8 (H, W, 3): cropped to `crop`, resized to `size` by bilinear
    filtering. With `fps` instead the frame shown at each multiple of 1 / `fps` seconds after the first one,
    whatever the file's own, possibly variable, rate.

    Frames are decoded in order without seeking, since time stamps of MPEG-4 in AVI have gaps, and in one
    thread, so that equal files give equal bits. Raises DataError if the file has no video, is truncated or
    mostly damaged.
    """
    with opened(path) as container:
        stream = find_stream(container, "video", path)
        stream.thread_type = "NONE"
        frames = decoded(container, stream, path)
        for frame in frames if fps is None else at_rate(frames, fps):
            yield resized(frame, size, crop)


def at_rate(frames: Iterable[Any], fps: float) -> Iterator[Any]:
    """The frame shown at each multiple of 1 / `fps` seconds after the first one, up to the start of the last
    frame. Frames without a time are left out.
    """
    start, shown, taken = 0.0, None, 0
    for frame in frames:
        if frame.time is None:
            continue
        if shown is None:
            start = frame.time
        while shown is not None and taken / fps < frame.time - start - 1e-6:
            yield shown
            taken += 1
        shown = frame
    if shown is not None and taken / fps <= shown.time - start + 1e-6:
        yield shown


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
    """A decoded frame, upright by its metadata, cropped to `crop` and resized, uint8 (H, W, 3)."""
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
    """Apply the container's display matrix: quarter turns, and mirroring."""
    across, down = display_axes(frame)
    if (across, down) == ((1, 0), (0, 1)):
        return frame
    pixels = frame.to_ndarray(format="rgb24")
    pixels = pixels.transpose(1, 0, 2) if across[1] else pixels
    pixels = pixels[:: across[1] + down[1], :: across[0] + down[0]]
    return type(frame).from_ndarray(np.ascontiguousarray(pixels), "rgb24")


_TURNED = {0: ((1, 0), (0, 1)), 1: ((0, -1), (1, 0)), 2: ((-1, 0), (0, -1)), 3: ((0, 1), (-1, 0))}
"""Quarter turns anticlockwise -> `display_axes`."""


def display_axes(frame: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """(x, y) on the screen of the steps to the next stored pixel across and down, each -1, 0 or 1.

    ((1, 0), (0, 1)) if the container has no display matrix, or one that skews.
    """
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV does not know other data of the frame, such as EXIF, but tells its rotation
        return _TURNED[round(frame.rotation / 90) % 4]
    if matrix is None:
        return (1, 0), (0, 1)
    a, b, _, c, d = struct.unpack("5i", bytes(matrix)[:20])  # FFmpeg stores nine numbers
    longest = max(map(abs, (a, b, c, d))) or 1
    across, down = (round(a / longest), round(b / longest)), (round(c / longest), round(d / longest))
    square = abs(across[0]) + abs(across[1]) == 1 and (abs(down[1]), abs(down[0])) == tuple(map(abs, across))
    return (across, down) if square else ((1, 0), (0, 1))


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


def decoded(container: Any, stream: Any, path: str | PathLike[str]) -> Iterator[Any]:
    """The frames of `stream`; damaged packets are skipped, as players do.

    Raises DataError at the end if no frame can be decoded, or the file is truncated or mostly damaged.
    """
    av = extra("av", "video")
    if _is_image(container):
        stream.codec_context.options = {
            "err_detect": "explode"
        }  # else FFmpeg completes half a JPEG with grey
    progress = Progress(container, stream, path)
    for packet in container.demux(progress.streams):
        progress.add(packet)
        if packet.stream.index != stream.index:  # `stream_index` of the last, empty packets is 0
            continue
        try:
            for frame in packet.decode():
                progress.decoded(frame)
                yield frame
        except av.error.InvalidDataError:
            progress.not_decoded(packet)
    progress.check()


def _is_image(container: Any) -> bool:
    """Whether the file is one image; not for TIFF, whose decoder takes unusual tags for errors."""
    name = container.format.name
    return name == "image2" or (name.endswith("_pipe") and name != "tiff_pipe")


def find_stream(container: Any, kind: str, path: str | PathLike[str]) -> Any:
    """The first "video" or "audio" stream; raises DataError without one, or for an unknown codec."""
    streams = getattr(container.streams, kind)
    if not streams:
        raise DataError(f"{path} has no {kind} stream")
    if streams[0].codec_context is None:
        raise DataError(f"{path} has {kind} of a codec that FFmpeg cannot decode")
    return streams[0]
