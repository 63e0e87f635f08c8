"""Samples: parts and files of the official form, sampling of clips, crops, columns of prepared data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True)
class Files:
    """One modality of one part as files: `items` has one per sample, None for samples without this modality.

    `load(item)` reads one sample in a worker process, so it must be picklable: a module-level function or a
    `functools.partial` of one. For clips and images it returns frames (H, W, C), in order and at their
    stored size: uint8, kept as JPEG; or with `lossless` uint8, uint16 or float32, kept as they are. For
    other kinds, and for images with `rows` (a spectrogram), it returns one array of the modality's shape,
    stored as float32. It raises DataError for unreadable files. `rate(item)` is the frame rate in frames per
    second.
    """

    items: Sequence[Any]
    load: Callable[[Any], Any]
    rate: Callable[[Any], float] | None = None
    rows: bool = False
    lossless: bool = False


@dataclass(frozen=True)
class Part:
    """N samples of the official form of a data set, such as its training part or its test part.

    `ids` are unique over the whole data set. `labels` (N,) are class indices in [0, K), -1 for unlabelled
    samples. `arrays` maps each modality to an array (N, *shape) or to `Files`. `groups` (subjects, speakers,
    video groups) never straddle training and validation data; None for independent samples. `attack_types`
    name the kind of attack of each sample, for the metrics of presentation attacks; they are not read in
    training.
    """

    ids: Sequence[str]
    labels: np.ndarray
    arrays: Mapping[str, np.ndarray | Files]
    groups: Sequence[str] | None = None
    attack_types: Sequence[str] | None = None


@dataclass(frozen=True)
class Sampling:
    """Sampling of clips from recordings.

    A clip has `frames` frames, `stride` apart, from a random position in every epoch; or, with `even`, one
    frame from each of `frames` equal segments. Short recordings are repeated. The test averages the class
    probabilities of `test_clips` equidistant clips; validation uses the center clip.
    """

    frames: int = 16
    stride: int = 1
    even: bool = False
    test_clips: int = 1

    def indices(self, length: int, t: float) -> list[int]:
        """Frame indices of a clip in a recording of `length` frames; t in [0, 1], from first to last clip."""
        if self.even:
            inside = min(t, 1 - 1e-9)
            return [int((k + inside) * length / self.frames) for k in range(self.frames)]
        span = (self.frames - 1) * self.stride + 1
        start = round(t * max(0, length - span))
        return [(start + k * self.stride) % length for k in range(self.frames)]

    def moments(self) -> list[float]:
        """Positions t of the test clips."""
        return [(k + 0.5) / self.test_clips for k in range(self.test_clips)]


@dataclass(frozen=True)
class Corruption:
    """What is wrong with the privileged modalities under a protocol, in all parts.

    `noise`: normal noise of so many stds of each channel is added. `delay`: they come so many frames late;
    the first frame of a sample stands for those before it.
    """

    noise: float = 0.0
    delay: int = 0


class CropParams(NamedTuple):
    """Position of a crop along time `t`, height `y` and width `x`, in [0, 1]; 0.5 is the center.

    `flip`: whether to mirror it horizontally.
    """

    t: float = 0.5
    y: float = 0.5
    x: float = 0.5
    flip: bool = False


@dataclass(frozen=True)
class Column:
    """One modality of one part: N samples of (*shape), read on demand.

    `array` is the whole column, or None if `read(i, crop)` decodes sample i. `present` (N,) is True for
    samples with the modality; None means all.
    """

    length: int
    array: np.ndarray | None = field(default=None, hash=False)
    present: np.ndarray | None = field(default=None, hash=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        if self.array is None:
            raise NotImplementedError(f"{type(self).__name__} has no array and does not implement shape")
        return self.array.shape[1:]

    def read(self, index: int, crop: CropParams = CropParams()) -> np.ndarray:  # noqa: B008
        if self.array is None:
            raise NotImplementedError(f"{type(self).__name__} has no array and does not implement read")
        return self.array[index]


class AugmentRng:
    """Named random draws for the augmentation of one batch.

    `rng("flip")` is (B,), uniform in [0, 1), on the batch's device. A draw depends only on its name and the
    batch, not on other draws.
    """

    def __call__(self, name: str) -> Tensor:
        raise NotImplementedError


@dataclass(frozen=True)
class Download:
    """A file to download. `size` in bytes, 0 if unknown; `sha256` the digest, a hex prefix of it, or ""."""

    url: str
    """Its address; it is kept under the name `file`."""
    file: str
    size: int = 0
    sha256: str = ""
