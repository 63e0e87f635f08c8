"""Optical flow between the frames of a clip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ..errors import UsageError
from .extras import extra

LARGEST = 20.0
"""Displacements are clipped to this many pixels."""


def tvl1(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Dual TV-L1 flow of uint8 (H, W, 3) frames with OpenCV's default parameters, as uint8 (H, W, 2).

    Channels are the displacement to the next frame along x and y: -20 to 20 pixels map linearly to 0..255,
    128 is no motion. There are as many flow fields as frames: the last one is repeated, and a single frame
    has no motion.
    """
    cv2 = extra("cv2", "flow")
    if not hasattr(cv2, "optflow"):
        raise UsageError(
            "the installed OpenCV has no TV-L1 flow (cv2.optflow)",
            "pip uninstall opencv-python opencv-python-headless; pip install 'pmbench[flow]'",
        )
    cv2.setNumThreads(1)  # clips are read in parallel already
    solver: Any = cv2.optflow.DualTVL1OpticalFlow_create()
    before = last = None
    for frame in frames:
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        if before is None:
            last = np.zeros((*grey.shape, 2), np.float32)
        else:
            last = solver.calc(before, grey, None)
            yield encoded(last)
        before = grey
    if last is not None:
        yield encoded(last)


def encoded(flow: np.ndarray) -> np.ndarray:
    """Displacements in pixels as uint8; 128 is no motion."""
    return np.rint((np.clip(flow, -LARGEST, LARGEST) + LARGEST) * (255 / (2 * LARGEST))).astype(np.uint8)
