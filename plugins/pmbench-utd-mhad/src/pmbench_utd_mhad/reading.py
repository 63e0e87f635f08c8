"""Readers of UTD-MHAD: one video and three MATLAB files a sample."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pmbench as pm

if TYPE_CHECKING:
    import numpy as np

JOINTS, HIP = 20, 3  # joints of the Kinect's skeleton; index of the centre of the hips
FARTHEST = 5_000  # millimetres that become 255
DEPTH_RATE = 30.0  # frames per second


def colour(path: Path, size: tuple[int, int]) -> Iterator[np.ndarray]:
    return pm.media.video_frames(path, size)


def rate(path: Path) -> float:
    return pm.media.frame_rate(path)


def depth(path: Path, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """uint8 (H, W, 1): 0 to 5 m as 0 to 255 in every frame; 0 is no measurement."""
    import numpy as np

    maps = matrix(path, "d_depth", (240, 320, None))
    for t in range(maps.shape[2]):
        share = np.clip(maps[..., t].astype(np.float32) / FARTHEST, 0, 1)
        yield pm.media.nearest(np.rint(share * 255).astype(np.uint8)[..., None], size)


def depth_rate(path: Path) -> float:
    return DEPTH_RATE


def skeleton(path: Path, steps: int) -> np.ndarray:
    """(60, steps): x, y, z of 20 joints in metres from the centre of the hips in the first frame."""
    joints = matrix(path, "d_skel", (JOINTS, 3, None))  # (20, 3, T)
    return resampled((joints - joints[HIP, :, :1][None]).reshape(JOINTS * 3, -1), steps)


def inertial(path: Path, steps: int) -> np.ndarray:
    """(6, steps): acceleration in g and angular velocity in degrees per second, x, y, z each."""
    return resampled(matrix(path, "d_iner", (None, 6)).T, steps)


def resampled(values: np.ndarray, steps: int) -> np.ndarray:
    """(C, T) -> (C, steps), by linear interpolation over the whole recording."""
    import numpy as np

    places = np.linspace(0, values.shape[1] - 1, steps)
    return np.stack([np.interp(places, np.arange(values.shape[1]), row) for row in values]).astype(np.float32)


def matrix(path: Path, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
    """The array `name` of a MATLAB file; None in `shape` is any length from 1 on. Raises DataError."""
    import numpy as np
    import scipy.io

    try:
        found = scipy.io.loadmat(path, variable_names=[name]).get(name)
    except Exception as error:  # a damaged file can raise almost any
        raise pm.DataError(f"{path} is not a MATLAB file of version 5: {error}", "get it again") from error
    if not _fits(found, shape):
        text = "nothing" if found is None else f"{getattr(found, 'dtype', type(found))} {np.shape(found)}"
        wanted = ", ".join("T" if n is None else str(n) for n in shape)
        raise pm.DataError(f"{path} holds {text} as {name}; expected numbers ({wanted})", "get it again")
    return found


def _fits(found: object, shape: tuple[int | None, ...]) -> bool:
    import numpy as np

    if not isinstance(found, np.ndarray) or found.ndim != len(shape) or found.dtype.kind not in "iuf":
        return False
    return all(n > 0 and wanted in (None, n) for n, wanted in zip(found.shape, shape, strict=True))
