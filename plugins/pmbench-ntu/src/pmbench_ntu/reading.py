"""Readers of one sample; colour and depth are aligned by the skeleton."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pmbench as pm

if TYPE_CHECKING:
    import numpy as np

    from .skeletons import Alignment

STEPS = 64
SKELETON = (2 * 25 * 3, STEPS)

Item = tuple[Path, tuple[Path, ...]]
"""A file, and skeleton files for its alignment: its own first, then others of the same camera."""


def colour(item: Item, size: tuple[int, int]) -> Iterator[np.ndarray]:
    path, joints = item
    return pm.media.video_frames(path, size, crop=aligned(joints).colour)


def infrared(item: Item, size: tuple[int, int]) -> Iterator[np.ndarray]:
    path, joints = item
    for frame in pm.media.video_frames(path, size, crop=aligned(joints).depth):
        yield frame[..., :1]


def depth(item: Item, size: tuple[int, int]) -> Iterator[np.ndarray]:
    path, joints = item
    return pm.media.depth_frames(path, size, "MDepth-*.png", jet=True, crop=aligned(joints).depth)


def rate(item: Item) -> float:
    return pm.media.frame_rate(item[0])


def aligned(paths: tuple[Path, ...]) -> Alignment:
    """The alignment by the first skeleton with enough tracked joints."""
    from .skeletons import alignment, skeletons

    reason = "there is no skeleton of its setup and camera"
    for path in paths:
        try:
            return alignment(skeletons(path))
        except pm.DataError as error:
            reason = f"{path}: {error.message}"
    raise pm.DataError(f"colour and depth cannot be aligned: {reason}")


def skeleton(path: Path) -> np.ndarray:
    """(150, 64): x, y, z in metres of 25 joints of two bodies, interpolated at 64 evenly spaced times.

    The origin is the spine base of the first body in its first frame; a missing body is 0.
    """
    import numpy as np

    from .skeletons import skeletons

    joints = skeletons(path).positions  # (T, 2, 25, 3)
    present = ~np.isnan(joints[:, 0, 0, 0])
    if not present.any():
        raise pm.DataError(f"{path} has no body")
    joints = np.nan_to_num(joints - joints[present][0, 0, 0])
    moments = np.linspace(0, len(joints) - 1, STEPS)
    before = np.floor(moments).astype(int)
    after, share = np.minimum(before + 1, len(joints) - 1), (moments - before)[:, None]
    rows = joints.reshape(len(joints), -1)
    return (rows[before] * (1 - share) + rows[after] * share).T.astype(np.float32)
