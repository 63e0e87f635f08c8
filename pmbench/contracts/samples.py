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
    """One modality of one part, still in the files of its official form: one item a sample, None where the
    sample lacks this modality.

    `load(item)` reads one sample in a process of its own, so it is a function of a module, or a
    `functools.partial` of one. For clips and images it gives frames, uint8 (H, W, C), in order and at the
    size they are to be stored at; for other kinds, and for pictures that no camera took (`rows`: a
    spectrogram), one array of the modality's shape, kept in float32. It raises DataError where the file
    cannot be read. `rate(item)`, frames per second, is kept beside the frames.
    """

    items: Sequence[Any]
    load: Callable[[Any], Any]
    rate: Callable[[Any], float] | None = None
    rows: bool = False


@dataclass(frozen=True)
class Part:
    """One file set of a data set, as read from its official form: a training part, a test part.

    `ids` are unique over the whole data set. `labels` (N,) are 0-based class indices, -1 where the data has
    none. `groups` name what must not straddle training and validation data (subject, speaker, video group);
    leave it out where samples are independent. `arrays` maps each modality to (N, *shape), or to the files
    that core decodes into it.
    """

    ids: Sequence[str]
    labels: np.ndarray
    arrays: Mapping[str, np.ndarray | Files]
    groups: Sequence[str] | None = None


@dataclass(frozen=True)
class Sampling:
    """Which frames of a recording make up a clip.

    `frames` frames, `stride` apart, from a random position in every epoch; or, with `even`, one from each of
    `frames` equal segments of the recording. A recording that is too short is repeated from its beginning. At
    test time `test_clips` equidistant clips are sampled and their class probabilities averaged; validation
    uses the center clip.
    """

    frames: int = 16
    stride: int = 1
    even: bool = False
    test_clips: int = 1

    def indices(self, length: int, t: float) -> list[int]:
        """Indices of a clip's frames in a recording of `length`; t from 0, the first clip, to 1, the last."""
        if self.even:
            inside = min(t, 1 - 1e-9)
            return [int((k + inside) * length / self.frames) for k in range(self.frames)]
        span = (self.frames - 1) * self.stride + 1
        start = round(t * max(0, length - span))
        return [(start + k * self.stride) % length for k in range(self.frames)]

    def moments(self) -> list[float]:
        """Positions t of the test clips."""
        return [(k + 0.5) / self.test_clips for k in range(self.test_clips)]


class CropParams(NamedTuple):
    """Position of a crop in a recording, along time, height and width: from 0 to 1, 0.5 is the center.

    `flip` mirrors it horizontally.
    """

    t: float = 0.5
    y: float = 0.5
    x: float = 0.5
    flip: bool = False


@dataclass(frozen=True)
class Column:
    """One modality of one part: N samples of (*shape), read on demand.

    `array` is the whole column if it is a single array; else None and `read(i, crop)` decodes sample i.
    `present` (N,) says which samples have the modality, None that all have.
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
    """Random numbers for the augmentation of one batch, by name.

    `rng("flip")` is (B,) uniform in [0, 1), on the batch's device. Equal names give equal numbers, whatever
    other names are asked for.
    """

    def __call__(self, name: str) -> Tensor:
        raise NotImplementedError


@dataclass(frozen=True)
class Download:
    """A file of an open download. `size` in bytes, 0 if unknown; `sha256` is the digest or its first hex
    digits, empty if the source states none.
    """

    url: str
    file: str
    size: int = 0
    sha256: str = ""
