"""Content of miniatures: moving shapes and tones that depend on the class."""

from __future__ import annotations

import numpy as np

MOTIONS = ("up", "down", "sideways", "growing", "shrinking", "blinking")
"""Motions. A horizontal flip changes none of them."""

SHAPES = ("disc", "square", "diamond", "bar", "ring")


def moving(motion: str, length: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre (T, 2) as y and x, radius (T,) and visibility (T,) of one motion, as fractions of the height.

    Speed, start and direction are random; a path that leaves the image starts again.
    """
    t = np.arange(length) * rng.uniform(0.02, 0.035) + rng.uniform()
    centre = np.tile(rng.uniform((0.3, 0.45), (0.7, 0.85)), (length, 1))
    radius, seen = np.full(length, 0.15), np.ones(length)
    if motion in ("up", "down"):
        way = 0.1 + 0.8 * (t % 1)
        centre[:, 0] = way if motion == "down" else 1 - way
    elif motion == "sideways":
        way = 0.1 + 1.1 * (t % 1)
        centre[:, 1] = way if rng.uniform() < 0.5 else 1.3 - way
    elif motion in ("growing", "shrinking"):
        size = 0.06 + 0.3 * (t % 1)
        radius = size if motion == "growing" else 0.42 - size
    elif motion == "blinking":
        seen = ((4 * t) % 1 < 0.5).astype(float)
    return centre, radius, seen


def painted(
    canvas: np.ndarray,
    shape: str,
    centre: np.ndarray,
    radius: np.ndarray,
    seen: np.ndarray,
    colour: np.ndarray,
) -> None:
    """Paints a moving shape onto `canvas` (T, H, W, C), in place. `colour` is (C,)."""
    height, width = canvas.shape[1:3]
    y = (np.arange(height) + 0.5)[:, None] / height - centre[:, 0, None, None]  # (T, H, 1)
    x = (np.arange(width) + 0.5)[None, :] / height - centre[:, 1, None, None]  # (T, 1, W)
    match shape:
        case "disc":
            distance = np.hypot(y, x)
        case "square":
            distance = np.maximum(abs(y), abs(x))
        case "diamond":
            distance = (abs(y) + abs(x)) / 1.3
        case "bar":
            distance = np.maximum(abs(y) * 2, abs(x) / 1.5)
        case "ring":
            distance = np.abs(np.hypot(y, x) - 0.7 * radius[:, None, None]) * 2.5
    covered = (distance < radius[:, None, None]) & (seen[:, None, None] > 0)
    canvas[covered] = colour


def clip(
    label: int, length: int, size: tuple[int, int], rng: np.random.Generator, scene: np.random.Generator
) -> np.ndarray:
    """Frames (T, H, W, 3) uint8 of class `label`: its motion and shape, a small uninformative shape, noise.

    30 classes differ. `scene` draws the colours; the clips of a group share its seed.
    """
    ground, colour, other = np.array([[70.0], [200.0], [140.0]]) + scene.uniform(-20, 20, (3, 3))
    canvas = np.tile(ground.astype(np.float32), (length, *size, 1))
    centre, radius, seen = moving(str(rng.choice(MOTIONS)), length, rng)
    painted(canvas, "square", centre, 0.5 * radius, seen, other)
    painted(canvas, SHAPES[label % len(SHAPES)], *moving(MOTIONS[label % len(MOTIONS)], length, rng), colour)
    return noisy(canvas, 40, rng)


def noisy(canvas: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """`canvas` with Gaussian noise of std `noise`, uint8."""
    return np.clip(canvas + noise * rng.standard_normal(canvas.shape, np.float32), 0, 255).astype(np.uint8)


def tone(label: int, classes: int, seconds: float, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Sound (n,) of class `label` of `classes`: a tone between 200 and 8,000 Hz, with weak noise."""
    hertz = 200 * 40 ** ((label + rng.uniform(-0.2, 0.2)) / max(1, classes - 1))
    t = np.arange(round(seconds * rate)) / rate
    return rng.uniform(0.1, 0.6) * np.sin(2 * np.pi * hertz * t) + rng.normal(0, 0.02, len(t))
