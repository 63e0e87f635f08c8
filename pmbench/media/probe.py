"""Sizes and durations of files, from their headers or their first frame."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from ..errors import DataError
from .complete import Progress
from .extras import extra
from .images import decoded_image, orientation
from .pixels import TIFFS, pixels
from .sound import HOP, MELS, RATE
from .video import decoded, display_axes, find_stream, opened


def video_size(path: str | PathLike[str]) -> tuple[int, int, int]:
    """Height and width in pixels as players show the video, and bits of a color."""
    with opened(path) as container:
        for frame in decoded(container, find_stream(container, "video", path), path):
            bits = max(component.bits for component in frame.format.components)
            return *_shown(frame), bits
    raise DataError(f"{path}: no frame can be decoded")


def frame_count(path: str | PathLike[str]) -> int | None:
    """Number of frames of the first video stream as its header says; None if it does not.

    Old MPEG-4 files report one frame too many or too few.
    """
    with opened(path) as container:
        return find_stream(container, "video", path).frames or None


def image_size(path: str | PathLike[str]) -> tuple[int, int]:
    """Height and width in pixels as viewers show the image."""
    if Path(path).suffix.lower() in (*TIFFS, ".npy"):
        height, width, _ = pixels(path).shape
        return height, width
    frame, turn = decoded_image(path), orientation(path)
    if turn == 1:
        return _shown(frame)
    return (frame.width, frame.height) if turn >= 5 else (frame.height, frame.width)


def _shown(frame: object) -> tuple[int, int]:
    height, width = frame.height, frame.width  # type: ignore[attr-defined]
    across, _ = display_axes(frame)
    return (width, height) if across[1] else (height, width)


def duration(path: str | PathLike[str]) -> float | None:
    """Seconds of the first audio stream as its header says; None if it does not."""
    av = extra("av", "video")
    with opened(path) as container:
        stream = find_stream(container, "audio", path)
        if stream.duration and stream.time_base:
            return float(stream.duration * stream.time_base)
        return container.duration / av.time_base if container.duration else None


def tells_length(path: str | PathLike[str]) -> bool:
    """Whether a video or sound file says how long it is.

    One that does not, such as MPEG-TS or AAC without a container, may be truncated between two packets, and
    nothing shows it.
    """
    with opened(path) as container:
        if {"mov", "wav", "w64", "avi", "gif"} & set(container.format.name.split(",")):
            return True
        streams = [*container.streams.video, *container.streams.audio]
        return all(Progress(container, stream, path).declared is not None for stream in streams)


def log_mel_shape(seconds: float) -> tuple[int, int]:
    """(bands, time steps) of `log_mel` for this duration."""
    return MELS, 1 + round(seconds * RATE) // HOP
