"""HHA encoding of depth: disparity, height above the floor, angle with gravity.

Gupta, Girshick, Arbelaez, Malik: Learning Rich Features from RGB-D Images for Object Detection and
Segmentation, ECCV 2014, arXiv:1407.5736.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DISPARITY, HEIGHT, TILT = 310.0, 100.0, 38.0
"""Channels are 310 / depth, 100 times the height, both in metres, and the angle in degrees plus 38, as in
the authors' code: white at 1.2 m and nearer, and at 2.55 m above the floor; 38 looks down, 128 is a wall, 218
looks up.
"""
SHALLOW, FLOOR = -0.9, -1.3
"""Metres relative to the camera: without a point below SHALLOW no floor is seen; FLOOR is taken for it."""
STEPS = ((45.0, 5), (15.0, 5))
"""(degrees within which a normal counts as parallel or perpendicular to gravity, iterations)."""
PRIOR = 1e-3
"""Weight of the direction before, for scenes that leave gravity open, such as a single wall."""


@dataclass(frozen=True)
class Camera:
    """Focal lengths and centre in pixels of an image of `size` (H, W)."""

    fx: float
    fy: float
    cx: float
    cy: float
    size: tuple[int, int]


NYUD = Camera(582.62, 582.69, 313.04, 238.44, (480, 640))
"""The depth camera of NYU Depth v2, as its toolbox gives it."""


def hha(depth: np.ndarray, camera: Camera = NYUD) -> np.ndarray:
    """Depth (H, W) in metres, 0 where it is not measured -> uint8 (H, W, 3).

    An image of another size than the camera's is taken for a crop around its centre, so that height and
    angle of it are no more than rough. Raises ValueError for an image without a measurement.
    """
    measured = depth > 0
    if not measured.any():
        raise ValueError("no depth is measured")
    points = cloud(depth, camera)
    facing = normals(points, measured)
    down = gravity(facing[measured])
    height = -(points @ down)
    lowest = float(height[measured].min())
    floor = FLOOR if lowest > SHALLOW else lowest
    angle = np.degrees(np.arccos(np.clip(facing @ down, -1, 1)))
    disparity = np.divide(DISPARITY, depth, out=np.zeros(depth.shape), where=measured)
    channels = (disparity, HEIGHT * (height - floor), angle + TILT)
    encoded = np.rint(np.clip(np.stack(channels, -1), 0, 255)).astype(np.uint8)
    encoded[~measured] = 0
    return encoded


def cloud(depth: np.ndarray, camera: Camera) -> np.ndarray:
    """Points (H, W, 3) in metres: x right, y down, z away from the camera."""
    height, width = depth.shape
    left, top = (camera.size[1] - width) / 2, (camera.size[0] - height) / 2
    x = (np.arange(width) + left - camera.cx) / camera.fx
    y = (np.arange(height) + top - camera.cy) / camera.fy
    return np.stack(np.broadcast_arrays(x * depth, y[:, None] * depth, depth), -1)


def normals(points: np.ndarray, measured: np.ndarray, radius: int = 3) -> np.ndarray:
    """Unit normals (H, W, 3), towards the camera, of planes fitted to squares of 2 radius + 1 points.

    A plane is fitted as n p = 1 by least squares over the measured points of a square; where it is not
    determined, the normal looks at the camera.
    """
    weight = measured.astype(float)
    p = points * weight[..., None]
    moments = _box(np.einsum("hwi,hwj->hwij", p, p).reshape(*measured.shape, 9), radius)
    sums = _box(p, radius)
    matrix = moments.reshape(*measured.shape, 3, 3) + 1e-6 * np.eye(3)
    found = np.linalg.solve(matrix, sums[..., None])[..., 0]
    length = np.linalg.norm(found, axis=-1, keepdims=True)
    away = np.array([0.0, 0.0, 1.0])
    unit = np.divide(found, length, out=np.broadcast_to(away, found.shape).copy(), where=length > 1e-6)
    towards = np.sign((unit * points).sum(-1, keepdims=True))
    return -unit * np.where(towards == 0, 1, towards)


def gravity(facing: np.ndarray) -> np.ndarray:
    """Unit vector (3,) downwards, from normals (N, 3): most surfaces are parallel or perpendicular to it.

    From straight down in the image it moves to the direction that minimizes the squared cosines with normals
    that are nearly perpendicular to it, and maximizes those with nearly parallel ones.
    """
    down = np.array([0.0, 1.0, 0.0])
    for degrees, iterations in STEPS:
        limit = np.cos(np.radians(degrees))
        for _ in range(iterations):
            cosine = np.abs(facing @ down)
            parallel, across = facing[cosine > limit], facing[cosine < np.sin(np.radians(degrees))]
            before = PRIOR * len(facing) * np.outer(down, down)
            _, vectors = np.linalg.eigh(across.T @ across - parallel.T @ parallel - before)
            down = vectors[:, 0] * (1 if vectors[1, 0] >= 0 else -1)
    return down


def _box(values: np.ndarray, radius: int) -> np.ndarray:
    """Sums over squares (H, W, C), smaller ones at the border."""
    padded = np.pad(values, ((radius + 1, radius), (radius + 1, radius), (0, 0)))
    sums = padded.cumsum(0).cumsum(1)
    side = 2 * radius + 1
    return sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
