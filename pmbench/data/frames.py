"""Frames files: encoded frames of many recordings in one memory-mapped Arrow IPC file.

Clips are read without seeking in a video. Columns: `frames`, a list of encoded frames per sample, and `rate`,
frames per second. The schema's metadata hold the frames' shape, codec and, unless it is uint8, data type.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .. import arrow
from ..contracts.modality import Modality
from ..contracts.samples import Column, CropParams, Sampling
from ..errors import DataError
from ..media.extras import extra

BATCH_BYTES = 1 << 25
"""Bytes of encoded frames after which a record batch is written."""
QUALITY = 90
TYPES = ("uint8", "uint16", "float32")
"""Data types of frames; JPEG holds the first one only."""


def _simplejpeg() -> Any:
    return extra("simplejpeg", "video")


def encode(frame: np.ndarray, codec: str) -> bytes:
    """Bytes of a frame (H, W, C). JPEG has 1 or 3 channels; others are stacked vertically in gray."""
    if codec == "raw":
        return np.ascontiguousarray(frame).tobytes()
    height, width, channels = frame.shape
    if channels == 3:
        return _simplejpeg().encode_jpeg(np.ascontiguousarray(frame), QUALITY, "RGB", "420")
    planes = np.ascontiguousarray(frame.transpose(2, 0, 1).reshape(channels * height, width, 1))
    return _simplejpeg().encode_jpeg(planes, QUALITY, "GRAY", "Gray")


def decode(data: Any, shape: tuple[int, int, int], codec: str, dtype: str = "uint8") -> np.ndarray:
    """The frame, `shape` (H, W, C), from the bytes of `encode`."""
    height, width, channels = shape
    if codec == "raw":
        return np.frombuffer(data, dtype).reshape(shape)
    if channels == 3:
        return _simplejpeg().decode_jpeg(data, "RGB")
    planes = _simplejpeg().decode_jpeg(data, "GRAY")
    return planes.reshape(channels, height, width).transpose(1, 2, 0)


class Writer:
    """Writes samples to a frames file; `close` completes it."""

    def __init__(self, file: BinaryIO, codec: str) -> None:
        self._file, self._codec = file, codec
        self._shape: tuple[int, ...] | None = None
        self._dtype = ""
        self._ipc: Any = None
        self._clear()

    def add(self, frames: Iterable[np.ndarray], rate: float) -> None:
        """Appends a sample: frames (H, W, C), none if it lacks the modality.

        Raises DataError for another shape or data type than that of earlier frames, or one not in TYPES.
        """
        encoded = []
        for frame in frames:
            self._check_shape(frame.shape)
            self._check_type(str(frame.dtype))
            encoded.append(encode(frame, self._codec))
        self._append(encoded, rate)

    def copy(self, other: Frames, sample: int) -> bool:
        """Appends a sample of another frames file with the same codec; False if it has no frames."""
        encoded = other.encoded(sample)
        if encoded and other.shape is not None:
            self._check_shape(other.shape)
            self._check_type(other.dtype)
            self._append([bytes(frame) for frame in encoded], float(other.rates[sample]))
        return bool(encoded)

    def extend(self, other: Frames) -> None:
        """Appends all samples of another frames file with the same codec, without decoding them."""
        if other.shape is not None:
            self._check_shape(other.shape)
            self._check_type(other.dtype)
        for sample, rate in enumerate(other.rates):
            self._append(other.encoded(sample), float(rate))

    def close(self) -> None:
        self._write_batch()
        self._ipc.close()

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        self._shape = self._shape or tuple(shape)
        if tuple(shape) != self._shape:
            raise DataError(f"a frame has shape {tuple(shape)}, earlier ones {self._shape}")

    def _check_type(self, dtype: str) -> None:
        if dtype not in TYPES or (self._codec != "raw" and dtype != "uint8"):
            raise DataError(f"frames are {dtype}; expected {'uint8' if self._codec != 'raw' else TYPES}")
        self._dtype = self._dtype or dtype
        if dtype != self._dtype:
            raise DataError(f"a frame is {dtype}, earlier ones {self._dtype}")

    def _append(self, encoded: list[Any], rate: float) -> None:
        self._samples.append(encoded)
        self._rates.append(rate)
        self._bytes += sum(map(len, encoded))
        if self._bytes >= BATCH_BYTES:
            self._write_batch()

    def _write_batch(self) -> None:
        import pyarrow as pa

        samples = arrow.from_lists(self._samples)
        batch = pa.record_batch(
            {"frames": samples, "rate": arrow.from_numpy(np.array(self._rates, np.float64))}
        )
        if self._ipc is None:  # the shape is known once the first batch is written
            head = {"shape": json.dumps(self._shape), "codec": self._codec}
            head |= {"dtype": self._dtype} if self._dtype not in ("", "uint8") else {}
            self._ipc = pa.ipc.new_file(self._file, batch.schema.with_metadata(head))
        self._ipc.write_batch(batch)
        self._clear()

    def _clear(self) -> None:
        self._samples, self._rates, self._bytes = list[list[Any]](), list[float](), 0


class Frames:
    """An open frames file of N samples; raises DataError if it is damaged.

    `shape` (H, W, C) is None if no sample has a frame; `counts` (N,) is the number of frames; `rates` (N,) is
    in frames per second, 0 if unknown.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        self.path = path
        try:
            table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
            table.validate(full=True)  # checks offsets, not frames
            head = table.schema.metadata
            self._samples, self.rates = table["frames"], arrow.to_numpy(table["rate"])
            self.counts = np.concatenate(
                [np.diff(arrow.to_numpy(chunk.offsets)) for chunk in self._samples.chunks]
            )
            shape, self.codec = json.loads(head[b"shape"]), head[b"codec"].decode()
            self.dtype = TYPES[TYPES.index(head.get(b"dtype", b"uint8").decode())]
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path} is not a complete frames file: {error}", "prepare the data again"
            ) from error
        self.shape: tuple[int, int, int] | None = tuple(shape) if shape else None

    def __len__(self) -> int:
        return len(self.rates)

    def encoded(self, sample: int, numbers: Sequence[int] | None = None) -> list[memoryview]:
        """Encoded frames of a sample, all or those with the given numbers."""
        numbers = range(self.counts[sample]) if numbers is None else numbers
        if not numbers:
            return []
        frames = self._samples[sample].values
        _, offsets, content = frames.buffers()  # slices are faster than pyarrow's scalars
        ends = np.frombuffer(offsets, np.int64)[frames.offset :]
        data = memoryview(content).cast("B")
        return [data[ends[n] : ends[n + 1]] for n in numbers]

    def read(self, sample: int, numbers: Sequence[int]) -> list[np.ndarray]:
        """Frames of a sample by number, each (H, W, C); raises DataError if one cannot be decoded."""
        assert self.shape is not None
        try:
            return [
                decode(data, self.shape, self.codec, self.dtype) for data in self.encoded(sample, numbers)
            ]
        except ValueError as error:
            raise DataError(
                f"{self.path}: a frame of sample {sample} cannot be decoded: {error}",
                "prepare the data again",
            ) from error


@dataclass(frozen=True)
class FramesColumn(Column):
    """Column of clips (C, T, H, W) or images (C, H, W), cropped from a frames file."""

    frames: Frames = field(default=None, hash=False)  # type: ignore[assignment]
    modality: Modality = field(default=None, hash=False)  # type: ignore[assignment]
    sampling: Sampling = field(default_factory=lambda: Sampling(frames=1))

    @staticmethod
    def open(path: Path, modality: Modality, sampling: Sampling | None) -> FramesColumn:
        """The column of a file; raises DataError if its frames are smaller than the modality's shape."""
        frames = Frames(path)
        channels, (height, width) = modality.channels, modality.shape[-2:]
        stored = frames.shape or (height, width, channels)
        if stored[0] < height or stored[1] < width or stored[2] != channels:
            raise DataError(
                f"{path}: frames are stored as {stored}; {modality.name!r} needs at least "
                f"{(height, width, channels)}",
                "prepare the data again",
            )
        present = None if frames.counts.all() else frames.counts > 0
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
            return np.zeros(modality.shape, self.frames.dtype)
        shape = self.frames.shape
        assert shape is not None
        top, left = round(crop.y * (shape[0] - height)), round(crop.x * (shape[1] - width))
        taken = self.frames.read(index, self.sampling.indices(count, crop.t))
        clip = np.stack([frame[top : top + height, left : left + width] for frame in taken])  # (T, H, W, C)
        if crop.flip and modality.flip:
            clip = clip[:, :, ::-1].copy()
            if modality.flip == "negate":
                clip[..., 0] = 255 - clip[..., 0]  # optical flow is stored as 8 bit
        return clip.transpose(3, 0, 1, 2).reshape(modality.shape)
