"""Skeletons of the Kinect v2 in the text form of NTU RGB+D, and what they say about how its cameras lie."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from ..errors import DataError
from .video import Box

JOINTS, BODIES = 25, 2
DEPTH_SIZE = (424, 512)  # pixels, height and width
COLOUR_SIZE = (1080, 1920)
TRACKED = 2  # the sensor's word for a joint it sees; 1 is guessed, 0 unknown
_JOINT = 12  # values of a joint
_FAR = 30.0  # pixels between two joints, below which their ratio is noise


@dataclass(frozen=True, eq=False)
class Skeletons:
    """At most two bodies over T frames, the one that moves most first; NaN where a body is not there.

    `positions` (T, 2, 25, 3) in metres; `depth` and `colour` (T, 2, 25, 2): x and y in pixels of the depth
    (512 x 424) and of the colour image (1920 x 1080); `tracking` (T, 2, 25): 2 tracked, 1 guessed, 0 not.
    """

    positions: np.ndarray
    depth: np.ndarray
    colour: np.ndarray
    tracking: np.ndarray


@dataclass(frozen=True)
class Alignment:
    """How the colour image lies over the depth image: depth = scale * colour + offset, in pixels.

    `depth` and `colour` are the part of each image that both see.
    """

    scale: float
    offset: tuple[float, float]
    depth: Box
    colour: Box


def skeletons(path: str | PathLike[str]) -> Skeletons:
    """Reads a `.skeleton` file; of more than two bodies, those that move most are kept.

    Motion is the variance of the positions over time, summed over joints and axes. Raises DataError with the
    line where the file is not of the form.
    """
    lines = _Lines(path)
    (frames,) = lines.integers(1, "the number of frames")
    if frames == 0:
        raise DataError(f"{path} has no frame")
    bodies: dict[str, np.ndarray] = {}  # id -> (T, 25, 12)
    for frame in range(frames):
        (present,) = lines.integers(1, "the number of bodies")
        for _ in range(present):
            name = lines.words(10, "the values of a body")[0]
            if lines.integers(1, "the number of joints") != [JOINTS]:
                raise lines.wrong(f"{JOINTS} joints")
            body = bodies.setdefault(name, _nowhere(frames))
            for joint in range(JOINTS):
                body[frame, joint] = lines.numbers(_JOINT, "the values of a joint")
    lines.end()
    kept = sorted(bodies.values(), key=_motion, reverse=True)[:BODIES]
    joints = np.stack([*kept, *[_nowhere(frames)] * (BODIES - len(kept))], 1)  # (T, 2, 25, 12)
    tracking = np.nan_to_num(joints[..., 11]).astype(np.uint8)
    return Skeletons(joints[..., :3], joints[..., 3:5], joints[..., 5:7], tracking)


def alignment(joints: Skeletons) -> Alignment:
    """Colour over depth from one video's joints, as Garcia et al. (arXiv:1806.07110) align NTU RGB+D.

    The scale is the mean over x and y of the median ratio of the distances between tracked joints in the two
    images; the offset is the median of what is then left between the same joints. Raises DataError where too
    few joints are tracked.
    """
    seen = joints.tracking == TRACKED
    seen &= np.isfinite(joints.depth).all(-1) & np.isfinite(joints.colour).all(-1)
    first, second = np.triu_indices(JOINTS, 1)
    pairs = seen[..., first] & seen[..., second]  # (T, 2, 300)
    depth, colour = (
        np.abs(image[..., first, :] - image[..., second, :])[pairs] for image in (joints.depth, joints.colour)
    )
    ratios = [
        depth[far, axis] / colour[far, axis] for axis in (0, 1) if (far := colour[:, axis] > _FAR).any()
    ]
    if len(ratios) < 2:
        raise DataError("no two tracked joints are far enough apart to align colour and depth")
    scale = float(np.mean([np.median(ratio) for ratio in ratios]))
    x, y = np.median(joints.depth[seen] - scale * joints.colour[seen], axis=0).tolist()
    left, right = max(0.0, x), min(DEPTH_SIZE[1], x + scale * COLOUR_SIZE[1])
    top, bottom = max(0.0, y), min(DEPTH_SIZE[0], y + scale * COLOUR_SIZE[0])
    if right - left < 1 or bottom - top < 1:
        raise DataError(f"colour and depth do not overlap: scale {scale:.3f}, offset {x:.1f}, {y:.1f}")
    height, width = map(float, DEPTH_SIZE)
    depth_box = (top / height, left / width, bottom / height, right / width)
    height, width = COLOUR_SIZE[0] * scale, COLOUR_SIZE[1] * scale
    colour_box = ((top - y) / height, (left - x) / width, (bottom - y) / height, (right - x) / width)
    return Alignment(scale, (x, y), depth_box, colour_box)


class _Lines:
    """The lines of a text file, read from the top; what does not fit is an error that says where."""

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = path
        self.at = 0
        try:
            self.lines = Path(path).read_text(encoding="ascii").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} cannot be read: {error}") from error

    def wrong(self, expected: str) -> DataError:
        found = self.lines[self.at - 1] if self.at <= len(self.lines) else "the end of the file"
        return DataError(f"{self.path}, line {self.at}: {found[:60]!r}; expected {expected}")

    def words(self, count: int, what: str) -> list[str]:
        self.at += 1
        words = self.lines[self.at - 1].split() if self.at <= len(self.lines) else []
        if len(words) != count:
            raise self.wrong(f"{what} ({count})")
        return words

    def integers(self, count: int, what: str) -> list[int]:
        words = self.words(count, what)
        if not all(word.isdecimal() for word in words):
            raise self.wrong(what)
        return [int(word) for word in words]

    def numbers(self, count: int, what: str) -> list[float]:
        """Of what the sensor could not compute, "-1.#IND" or "nan", a NaN."""
        words = self.words(count, what)
        try:
            return [float("nan") if "#" in word else float(word) for word in words]
        except ValueError as error:
            raise self.wrong(what) from error

    def end(self) -> None:
        for line in self.lines[self.at :]:
            self.at += 1
            if line.strip():
                raise self.wrong("the end of the file")


def _nowhere(frames: int) -> np.ndarray:
    return np.full((frames, JOINTS, _JOINT), np.nan, np.float32)


def _motion(body: np.ndarray) -> float:
    there = ~np.isnan(body[:, 0, 11])
    return float(np.nan_to_num(body[there, :, :3]).var(0).sum())
