"""Whether a file was read whole: its packets against the counts and durations that it declares."""

from __future__ import annotations

from os import PathLike
from typing import Any

from ..errors import DataError
from .endings import counts_frames, truncation

COMPLETE = 0.9
"""A video with fewer frames than this fraction of the number in its header, less one, is truncated.

Old MPEG-4 files report one frame too many or too few, and damaged frames are skipped; both are accepted.
"""
SHORTER, SLACK = 0.95, 0.2
"""A stream that ends before this fraction of its declared duration, less so many seconds, is truncated."""

DECLARED = ("matroska", "flv", "flac", "aiff", "mp3")
"""Formats that declare the duration; for others FFmpeg guesses it from the size or the last packets."""


class Progress:
    """What was read of a stream: its packets, frames and the time at which the last packet ends.

    `streams` are those of the container whose packets `add` takes: a duration that is declared for the whole
    file is reached by one of them.
    """

    def __init__(self, container: Any, stream: Any, path: str | PathLike[str]) -> None:
        self.path, self.stream, self.formats = path, stream, container.format.name.split(",")
        self.frames = self.undecodable = 0
        self._packets: dict[int, int] = {}
        self._discarded: dict[int, int] = {}
        self._ends: dict[int, float] = {}  # stream -> seconds
        self._last_is_damaged = False
        self.declared = self._declared(container)
        whole = self._is("avi") or ("DURATION" not in stream.metadata and self._is("matroska", "flv"))
        self.streams = list(container.streams) if whole else [stream]

    def add(self, packet: Any) -> None:
        if not packet.size:  # the last one, which flushes the decoder
            return
        index = packet.stream.index
        self._packets[index] = self._packets.get(index, 0) + 1
        if packet.is_discard:  # hidden by an edit list
            self._discarded[index] = self._discarded.get(index, 0) + 1
            return
        time = packet.pts if packet.pts is not None else packet.dts
        if time is not None:
            end = float((time + (packet.duration or 0)) * packet.time_base)
            self._ends[index] = max(end, self._ends.get(index, end))

    def decoded(self, frame: Any) -> None:
        self.frames += 1
        self._last_is_damaged = frame.is_corrupt

    def not_decoded(self, packet: Any) -> None:
        self.undecodable += bool(packet.size)
        self._last_is_damaged = True

    def check(self) -> None:
        """Raises DataError if the stream is truncated, or most of it cannot be decoded."""
        self._check_counts()
        end = max(self._ends.values(), default=0.0)
        all_there = self._is("mov") and self._packets.get(self.stream.index, 0) == self.stream.frames
        if self.declared is not None and end + SLACK < SHORTER * self.declared and not all_there:
            raise self._truncated(f"it ends after {end:.2f} of {self.declared:.2f} seconds")
        counted = self.stream.frames and not self._is("gif")
        within = "" if counted else truncation(self.path, ",".join(self.formats))
        if not within and self._last_is_damaged and self.declared is None and self._is("mpegts", "flac"):
            within = "a frame"
        if within:
            raise self._truncated(f"it ends within {within}")

    def _check_counts(self) -> None:
        packets = self._packets.get(self.stream.index, 0)
        if not self.frames:
            raise DataError(f"{self.path}: no frame of its {self.stream.type} can be decoded", "get it again")
        if self.undecodable > (1 - COMPLETE) * packets + 1:
            raise DataError(
                f"{self.path} is damaged: {self.undecodable} of {packets} packets cannot be decoded",
                "get it again",
            )
        for video in (s for s in self.streams if s.type == "video" and s.frames):
            index, own = video.index, video.index == self.stream.index
            frames = self.frames if own else self._packets.get(index, 0)
            if self._is("avi"):  # whose time stamps count frames that were dropped to save space
                timed = round(self._ends.get(index, 0.0) / video.time_base)
                frames = max(frames, timed - (self.undecodable if own else 0))
            expected = video.frames - self._discarded.get(index, 0)
            if self._is("mov") and self._ends.get(index, 0.0) + SLACK >= SHORTER * _seconds(video):
                expected = min(expected, self._packets.get(index, 0) - self._discarded.get(index, 0))
            if frames + 1 < COMPLETE * expected:
                raise self._truncated(f"{frames} of {expected} frames can be decoded")

    def _declared(self, container: Any) -> float | None:
        """Seconds, or None if the file does not tell."""
        if self._is("mov"):
            counted = self.stream.frames and self.stream.type == "audio"
            return _seconds(self.stream) if counted else None
        if self.stream.type == "video" and self._is("flac", "mp3"):  # a picture of the cover
            return None
        if not self._is(*DECLARED) or (self._is("mp3") and not counts_frames(self.path)):
            return None
        hours, _, rest = self.stream.metadata.get("DURATION", "").partition(":")
        minutes, _, seconds = rest.partition(":")
        try:
            return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        except ValueError:
            pass
        if self.stream.duration:
            return _seconds(self.stream)
        return container.duration / 1e6 if container.duration else None  # microseconds

    def _is(self, *formats: str) -> bool:
        return any(name in self.formats for name in formats)

    def _truncated(self, how: str) -> DataError:
        return DataError(f"{self.path} is truncated: {how}", "get it again")


def _seconds(stream: Any) -> float:
    return float((stream.duration or 0) * stream.time_base)
