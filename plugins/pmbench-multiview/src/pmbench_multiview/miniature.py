"""Writes a small Northwestern-UCLA and a small UWA3D II in the official layouts, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np

from pmbench.testing.media import MOTIONS, moving, noisy, painted, write_image

WALL, BODY = 4_000, 2_000  # millimetres


def write_nwucla(
    root: Path,
    *,
    actions: Sequence[int] = (1, 2, 3, 8),
    people: Sequence[int] = (1, 2, 3, 4),
    views: Sequence[int] = (1, 2, 3),
    frames: tuple[int, int] = (8, 12),
    size: tuple[int, int] = (24, 32),
    seed: int = 0,
) -> Path:
    """Writes `multiview_action/view_{1,2,3}` into `root` and returns it.

    Colour is `size` (H, W), depth half of it, as officially. The pitfalls of the official data are included:
    numbers of frames start anywhere, are not padded and pass a power of ten, the time stamps of colour and
    depth differ, some frames have no depth, the second clip has none at all, and other files lie beside. The
    action is the motion of a shape, noisy in colour and near in depth.
    """
    for turn, (view, action, person) in enumerate(product(views, actions, people)):
        rng = np.random.default_rng((seed, view, action, person))
        colour, depth = _clip(actions.index(action), int(rng.integers(frames[0], frames[1] + 1)), size, rng)
        folder = root / "multiview_action" / f"view_{view}" / f"a{action:02d}_s{person:02d}_e{turn % 3:02d}"
        for number, (shown, far) in enumerate(zip(colour, depth, strict=True), 96):
            stamp = 90_467_319 + 33 * number
            write_image(folder / f"frame_{number}_tc_{stamp}_rgb.jpg", shown)
            if turn == 1 or (turn == 2 and number == 97):
                continue
            base = f"frame_{number}_tc_{stamp + 32}"
            write_image(folder / f"{base}_depth.png", far[::2, ::2])
            write_image(folder / f"{base}_depth_vis.jpg", (far[::2, ::2] >> 5).astype(np.uint8))
            (folder / f"{base}_skeletons.txt").write_text("20,1\n")
        (folder / "fileList.txt").write_text("\n")
    return root


def write_uwa3d(
    root: Path,
    *,
    actions: Sequence[int] = (1, 2, 3, 4),
    people: Sequence[int] = (1, 2, 3, 4),
    views: Sequence[int] = (1, 2, 3, 4),
    frames: tuple[int, int] = (6, 9),
    size: tuple[int, int] = (24, 32),
    deep: bool = True,
    seed: int = 0,
) -> Path:
    """Writes `UWA3D-RGB` and `UWA3D-Depth/WholeFrames` into `root` and returns it.

    Depth has 16 bits, or 8 unless `deep`. The pitfalls of the official data are included: a comma before
    `.jpg`; the last number of a clip is 0 in depth and 1 in colour; the second clip has no depth, the third
    no colour; the first frame of depth is missing in some.
    """
    for turn, (action, person, view) in enumerate(product(actions, people, views)):
        rng = np.random.default_rng((seed, view, action, person))
        colour, depth = _clip(actions.index(action), int(rng.integers(frames[0], frames[1] + 1)), size, rng)
        name = f"a{action:02d}_s{person:02d}_v{view:02d}_e0"
        for number, (shown, far) in enumerate(zip(colour, depth, strict=True), 1):
            if turn != 2:
                write_image(root / "UWA3D-RGB" / f"{name}1" / f"{number:03d},.jpg", shown)
            if turn != 1 and not (turn % 5 == 3 and number == 1):
                image = far if deep else (far * (255 / 5_000)).astype(np.uint8)
                write_image(root / "UWA3D-Depth" / "WholeFrames" / f"{name}0" / f"{number:03d}.png", image)
    return root


def _clip(
    label: int, length: int, size: tuple[int, int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Colour (T, H, W, 3) uint8 and depth (T, H, W) uint16 in millimetres; some of it is not measured."""
    path = moving(MOTIONS[label % len(MOTIONS)], length, rng)
    far = np.full((length, *size, 1), float(WALL), np.float32)
    painted(far, "disc", *path, np.array([BODY]))
    ground, tint, other = np.array([[70.0], [200.0], [140.0]]) + rng.uniform(-20, 20, (3, 3))
    canvas = np.tile(ground.astype(np.float32), (length, *size, 1))
    painted(canvas, "disc", *path, tint)
    centre, radius, seen = moving(str(rng.choice(MOTIONS)), length, rng)
    painted(canvas, "square", centre, 0.5 * radius, seen, other)
    depth = far[..., 0] + rng.normal(0, 20, far.shape[:3])
    depth[rng.uniform(size=depth.shape) < 0.02] = 0
    return noisy(canvas, 40, rng), np.rint(depth).astype(np.uint16)
