"""Depth maps in millimetres, as frames."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike

import numpy as np

from ..errors import DataError
from .images import decoded_image, image_files
from .video import WHOLE_IMAGE, Box

FARTHEST = 5.0  # metres


def depth_frames(
    folder: str | PathLike[str],
    size: tuple[int, int],
    pattern: str,
    *,
    jet: bool = False,
    crop: Box = WHOLE_IMAGE,
) -> Iterator[np.ndarray]:
    """16-bit PNGs of millimetres as uint8 (H, W, 1), or (H, W, 3) in the color map "jet".

    0 to FARTHEST metres map linearly to 0..255 in every frame; missing measurements, 0 in the files, stay 0.
    After `crop`, images are resized by nearest neighbor: interpolation would create depths between a person
    and a wall.
    """
    for path in image_files(folder, pattern).values():
        frame = decoded_image(path)
        if not frame.format.name.startswith("gray16"):
            raise DataError(f"{path} holds {frame.format.name} pixels; expected one 16-bit channel")
        depth = frame.to_ndarray(format="gray16le")
        rows, columns = (
            ((start + (np.arange(wanted) + 0.5) / wanted * (end - start)) * there).astype(int)
            for wanted, there, start, end in zip(size, depth.shape, crop[:2], crop[2:], strict=True)
        )
        share = np.clip(depth[rows][:, columns] / 1000 / FARTHEST, 0, 1)  # (H, W)
        grey = np.rint(share * 255).astype(np.uint8)
        yield JET[grey] if jet else grey[..., None]


def _jet() -> np.ndarray:
    """(256, 3) uint8: blue, cyan, yellow, red, each channel a trapezium over the range."""
    ramp = np.arange(256) / 255
    channels = [np.clip(1.5 - np.abs(4 * ramp - peak), 0, 1) for peak in (3, 2, 1)]
    return np.rint(np.stack(channels, 1) * 255).astype(np.uint8)


JET = _jet()
