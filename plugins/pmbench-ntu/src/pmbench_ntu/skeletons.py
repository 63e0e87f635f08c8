"""Skeleton files of NTU RGB+D (Kinect v2), and the alignment of its colour and depth images."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

import pmbench as pm

JOINTS, BODIES = 25, 2
DEPTH_SIZE = (424, 512)  # pixels, height and width
COLOUR_SIZE = (1080, 1920)
TRACKED = 2  # tracking state of a joint that the sensor sees; 1 inferred, 0 not tracked
_JOINT = 12  # values of a joint
_FAR = 30.0  # pixels between two joints, below which their ratio is noise


@dataclass(frozen=True, eq=False)
class Skeletons:
    """At most two bodies over T frames, the one with most motion first; NaN where a body is missing.

    `positions` (T, 2, 25, 3) in metres; `depth` and `colour` (T, 2, 25, 2): x and y in pixels of the depth
    (512 x 424) and of the colour image (1920 x 1080); `tracking` (T, 2, 25): 2 tracked, 1 inferred, 0 none.
    """

    positions: np.ndarray
    depth: np.ndarray
    colour: np.ndarray
    tracking: np.ndarray


@dataclass(frozen=True)
class Alignment:
    """Pixels of the depth image from those of the colour image: depth = scale * colour + offset.

    `depth` and `colour` are the crops of the two images that show the same scene.
    """

    scale: float
    offset: tuple[float, float]
    depth: pm.media.Box
    colour: pm.media.Box


def skeletons(path: str | PathLike[str]) -> Skeletons:
    """Reads a `.skeleton` file and keeps the two bodies with most motion.

    Motion is the variance of the positions over time, summed over joints and axes. Raises DataError that
    names the first malformed line.
    """
    lines = _Lines(path)
    (frames,) = lines.integers(1, "the number of frames")
    if frames == 0:
        raise pm.DataError(f"{path} has no frame")
    if frames > len(lines.lines):
        raise lines.wrong(f"at most {len(lines.lines)} frames in as many lines")
    bodies: dict[str, np.ndarray] = {}  # id -> (T, 25, 12)
    for frame in range(frames):
        (present,) = lines.integers(1, "the number of bodies")
        for _ in range(present):
            name = lines.words(10, "the values of a body")[0]
            if lines.integers(1, "the number of joints") != [JOINTS]:
                raise lines.wrong(f"{JOINTS} joints")
            body = bodies.setdefault(name, _absent(frames))
            for joint in range(JOINTS):
                body[frame, joint] = lines.numbers(_JOINT, "the values of a joint")
    lines.end()
    kept = sorted(bodies.values(), key=_motion, reverse=True)[:BODIES]
    joints = np.stack([*kept, *[_absent(frames)] * (BODIES - len(kept))], 1)  # (T, 2, 25, 12)
    tracking = np.nan_to_num(joints[..., 11]).astype(np.uint8)
    return Skeletons(joints[..., :3], joints[..., 3:5], joints[..., 5:7], tracking)


def alignment(joints: Skeletons) -> Alignment:
    """Alignment of one video from its joints, as in Garcia et al. (arXiv:1806.07110).

    For x and for y, take the median over pairs of tracked joints of the ratio of their distances in the two
    images; the scale is the mean of both. The offset is the median of depth - scale * colour over joints.
    Raises DataError if too few joints are tracked.
    """
    tracked = joints.tracking == TRACKED
    tracked &= np.isfinite(joints.depth).all(-1) & np.isfinite(joints.colour).all(-1)
    first, second = np.triu_indices(JOINTS, 1)
    pairs = tracked[..., first] & tracked[..., second]  # (T, 2, 300)
    depth, colour = (
        np.abs(image[..., first, :] - image[..., second, :])[pairs] for image in (joints.depth, joints.colour)
    )
    ratios = [
        depth[far, axis] / colour[far, axis] for axis in (0, 1) if (far := colour[:, axis] > _FAR).any()
    ]
    if len(ratios) < 2:
        raise pm.DataError("no two tracked joints are far enough apart to align colour and depth")
    scale = float(np.mean([np.median(ratio) for ratio in ratios]))
    x, y = np.median(joints.depth[tracked] - scale * joints.colour[tracked], axis=0).tolist()
    left, right = max(0.0, x), min(DEPTH_SIZE[1], x + scale * COLOUR_SIZE[1])
    top, bottom = max(0.0, y), min(DEPTH_SIZE[0], y + scale * COLOUR_SIZE[0])
    if right - left < 1 or bottom - top < 1:
        raise pm.DataError(f"colour and depth do not overlap: scale {scale:.3f}, offset {x:.1f}, {y:.1f}")
    height, width = map(float, DEPTH_SIZE)
    depth_box = (top / height, left / width, bottom / height, right / width)
    height, width = COLOUR_SIZE[0] * scale, COLOUR_SIZE[1] * scale
    colour_box = ((top - y) / height, (left - x) / width, (bottom - y) / height, (right - x) / width)
    return Alignment(scale, (x, y), depth_box, colour_box)


class _Lines:
    """Reads a text file line by line; an unexpected line raises DataError with its number."""

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = path
        self.at = 0
        try:
            self.lines = Path(path).read_text(encoding="ascii").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise pm.DataError(f"{path} cannot be read: {error}") from error

    def wrong(self, expected: str) -> pm.DataError:
        found = self.lines[self.at - 1] if self.at <= len(self.lines) else "the end of the file"
        return pm.DataError(f"{self.path}, line {self.at}: {found[:60]!r}; expected {expected}")

    def words(self, count: int, what: str) -> list[str]:
        self.at += 1
        words = self.lines[self.at - 1].split() if self.at <= len(self.lines) else []
        if len(words) != count:
            raise self.wrong(f"{what} ({count})")
        return words

    def integers(self, count: int, what: str) -> list[int]:
        words = self.words(count, what)
        if not all(word.isdecimal() and len(word) < 10 for word in words):
            raise self.wrong(what)
        return [int(word) for word in words]

    def numbers(self, count: int, what: str) -> list[float]:
        """Numbers of a line; "-1.#IND" and "nan", which the sensor writes for invalid values, are NaN."""
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


def _absent(frames: int) -> np.ndarray:
    return np.full((frames, JOINTS, _JOINT), np.nan, np.float32)


def _motion(body: np.ndarray) -> float:
    present = ~np.isnan(body[:, 0, 11])
    return float(np.nan_to_num(body[present, :, :3]).var(0).sum())
