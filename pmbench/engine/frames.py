"""Frames of many recordings in one mapped file: any clip is a few reads, none of it a seek in a video.

Layout: a line of magic, the encoded frames of all samples one after the other, then three arrays as numpy
writes them (the end of every frame in bytes, the first frame of every sample, frames per second), a JSON
object with size and codec, and its length in 8 bytes.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..contracts.samples import Column, CropParams, Sampling
from ..contracts.setting import Modality
from ..errors import DataError
from ..media.extras import extra

MAGIC = b"pmbench frames 1\n"
QUALITY = 90
CODECS = ("jpeg", "raw")


def _simplejpeg() -> Any:
    return extra("simplejpeg", "video")


def encode(frame: np.ndarray, codec: str) -> bytes:
    """One frame, uint8 (H, W, C). JPEG holds 1 or 3 channels; others lie below one another in grey."""
    if codec == "raw":
        return np.ascontiguousarray(frame).tobytes()
    height, width, channels = frame.shape
    if channels == 3:
        return _simplejpeg().encode_jpeg(np.ascontiguousarray(frame), QUALITY, "RGB", "420")
    planes = np.ascontiguousarray(frame.transpose(2, 0, 1).reshape(channels * height, width, 1))
    return _simplejpeg().encode_jpeg(planes, QUALITY, "GRAY", "Gray")


def decode(data: Any, shape: tuple[int, int, int], codec: str) -> np.ndarray:
    """What `encode` was given, for frames of `shape` (H, W, C)."""
    height, width, channels = shape
    if codec == "raw":
        return np.frombuffer(data, np.uint8).reshape(shape)
    if channels == 3:
        return _simplejpeg().decode_jpeg(data, "RGB")
    planes = _simplejpeg().decode_jpeg(data, "GRAY")
    return planes.reshape(channels, height, width).transpose(1, 2, 0)


class Writer:
    """Appends samples to a frames file; `close` makes it complete."""

    def __init__(self, file: BinaryIO, codec: str) -> None:
        self._file, self._codec = file, codec
        self._ends: list[int] = []
        self._first, self._rates = [0], list[float]()
        self._shape: tuple[int, ...] | None = None
        self._at = file.write(MAGIC)

    def add(self, frames: Iterable[np.ndarray], rate: float) -> None:
        """One sample's frames, uint8 (H, W, C); none where it lacks the modality. Raises DataError where
        their shapes differ from those before.
        """
        for frame in frames:
            self._agree(frame.shape)
            if frame.dtype != np.uint8:
                raise DataError(f"frames are {frame.dtype}; expected uint8")
            self._append(encode(frame, self._codec))
        self._end_sample(rate)

    def extend(self, other: Frames) -> None:
        """All samples of another frames file of the same codec, as they are."""
        if other.shape is not None:
            self._agree(other.shape)
        for sample, rate in enumerate(other.rates):
            for data in other.encoded(sample):
                self._append(data)
            self._end_sample(float(rate))

    def close(self) -> None:
        for array in (self._ends, self._first):
            np.save(self._file, np.asarray(array, np.int64))
        np.save(self._file, np.asarray(self._rates, np.float64))
        head = json.dumps({"shape": self._shape, "codec": self._codec, "index": self._at}).encode()
        self._file.write(head + len(head).to_bytes(8, "little"))

    def _agree(self, shape: tuple[int, ...]) -> None:
        self._shape = self._shape or tuple(shape)
        if tuple(shape) != self._shape:
            raise DataError(f"a frame has shape {tuple(shape)}, those before it {self._shape}")

    def _append(self, data: Any) -> None:
        self._at += self._file.write(data)
        self._ends.append(self._at)

    def _end_sample(self, rate: float) -> None:
        self._first.append(len(self._ends))
        self._rates.append(rate)


class Frames:
    """An open frames file. `shape` (H, W, C) is None where no sample has a frame; `rates` (N,) frames per
    second, 0 where unknown.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                if self._map[: len(MAGIC)] != MAGIC:
                    raise ValueError("it does not begin as one")
                size = len(self._map)
                length = int.from_bytes(self._map[size - 8 :], "little")
                head = json.loads(self._map[size - 8 - length : size - 8])
                file.seek(head["index"])
                self._ends, self._first, self.rates = (np.load(file, allow_pickle=False) for _ in range(3))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path} is not a whole file of frames: {error}", "prepare the data again"
            ) from error
        self.codec: str = head["codec"]
        self.shape: tuple[int, int, int] | None = tuple(head["shape"]) if head["shape"] else None

    def __len__(self) -> int:
        return len(self.rates)

    @property
    def counts(self) -> np.ndarray:
        """(N,) frames of each sample."""
        return np.diff(self._first)

    def encoded(self, sample: int) -> Iterator[memoryview]:
        for number in range(int(self._first[sample]), int(self._first[sample + 1])):
            yield self._frame(number)

    def read(self, sample: int, wanted: Sequence[int]) -> list[np.ndarray]:
        """Frames of a sample by number, each uint8 (H, W, C)."""
        assert self.shape is not None
        first, shape, codec = int(self._first[sample]), self.shape, self.codec
        try:
            return [decode(self._frame(first + number), shape, codec) for number in wanted]
        except ValueError as error:
            raise DataError(
                f"{self.path}: a frame of sample {sample} cannot be decoded: {error}",
                "prepare the data again",
            ) from error

    def _frame(self, number: int) -> memoryview:
        start = int(self._ends[number - 1]) if number else len(MAGIC)
        return memoryview(self._map)[start : int(self._ends[number])]


@dataclass(frozen=True)
class FramesColumn(Column):
    """Clips (C, T, H, W) or images (C, H, W), uint8, cut out of a frames file."""

    frames: Frames = field(default=None, hash=False)  # type: ignore[assignment]
    modality: Modality = field(default=None, hash=False)  # type: ignore[assignment]
    sampling: Sampling = field(default_factory=lambda: Sampling(frames=1))

    @staticmethod
    def open(path: Path, modality: Modality, sampling: Sampling | None) -> FramesColumn:
        """Raises DataError where the stored frames are smaller than what the modality shows of them."""
        frames = Frames(path)
        channels, (height, width) = modality.channels, modality.shape[-2:]
        stored = frames.shape or (height, width, channels)
        if stored[0] < height or stored[1] < width or stored[2] != channels:
            raise DataError(
                f"{path}: frames are stored as {stored}; {modality.name!r} needs at least "
                f"{(height, width, channels)}",
                "prepare the data again",
            )
        counts = frames.counts
        present = None if counts.all() else counts > 0
        clip = sampling if modality.kind == "clip" and sampling else Sampling(frames=1)
        return FramesColumn(len(frames), None, present, frames, modality, clip)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.modality.shape

    def read(self, index: int, crop: CropParams = CropParams()) -> np.ndarray:  # noqa: B008
        modality = self.modality
        height, width = modality.shape[-2:]
        count = int(self.frames.counts[index])
        if not count:
            return np.zeros(modality.shape, np.uint8)
        shape = self.frames.shape
        assert shape is not None
        top, left = round(crop.y * (shape[0] - height)), round(crop.x * (shape[1] - width))
        taken = self.frames.read(index, self.sampling.indices(count, crop.t))
        clip = np.stack([frame[top : top + height, left : left + width] for frame in taken])  # (T, H, W, C)
        if crop.flip and modality.flip:
            clip = clip[:, :, ::-1].copy()
            if modality.flip == "negate":
                clip[..., 0] = 255 - clip[..., 0]
        return clip.transpose(3, 0, 1, 2).reshape(modality.shape)
