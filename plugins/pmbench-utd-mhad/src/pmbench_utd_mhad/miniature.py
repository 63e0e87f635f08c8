"""Writes a small UTD-MHAD in the official layout, for tests and demos."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import scipy.io

from pmbench.testing.media import MOTIONS, moving, noisy, painted, write_video

from .dataset import ABSENT

DEPTH = (240, 320)  # pixels, as officially
HANDS = (10, 11)  # indices of the right wrist and hand


def write_utd_mhad(
    root: Path,
    *,
    actions: Sequence[int] = (1, 2, 3, 4),
    subjects: Sequence[int] = (1, 2, 3, 4, 7, 8),
    trials: Sequence[int] = (1, 2),
    frames: tuple[int, int] = (12, 18),
    size: tuple[int, int] = (60, 80),
    seed: int = 0,
) -> Path:
    """Writes the folders RGB, Depth, Skeleton and Inertial into `root` and returns it.

    `frames` is the range of the number of depth maps, `size` (H, W) that of videos in pixels. The pitfalls of
    the official data are included: videos have 15 frames a second and fewer frames than there are depth maps;
    the inertial sensor has 50 values a second and its own length; three recordings are absent. The class is
    the motion of a hand: noisy in the video, clear in the others. Six classes differ.
    """
    for action, subject, trial in product(actions, subjects, trials):
        name = f"a{action}_s{subject}_t{trial}"
        if name in ABSENT:
            continue
        rng = np.random.default_rng((seed, action, subject, trial))
        length = int(rng.integers(frames[0], frames[1] + 1))
        centre, radius, seen = moving(MOTIONS[(action - 1) % len(MOTIONS)], length, rng)
        shown = np.tile(np.float32([70, 80, 90]), (length, *size, 1))
        painted(shown, "disc", centre, radius, seen, np.array([200.0, 180.0, 160.0]))
        write_video(root / "RGB" / f"{name}_color.avi", noisy(shown[: round(0.77 * length)], 50, rng), fps=15)
        maps = np.full((length, *DEPTH, 1), 3_000, np.uint16)
        painted(maps, "disc", centre, radius, seen, np.array([1_500]))
        _write(root / "Depth" / f"{name}_depth.mat", d_depth=maps[..., 0].transpose(1, 2, 0))
        joints = np.random.default_rng(0).uniform(-0.5, 0.5, (20, 3, 1)) + np.zeros(length)
        hand = np.stack([centre[:, 1] - 0.65, 0.5 - centre[:, 0], -2 * radius])  # metres, y up
        joints[HANDS, :] = hand + rng.normal(0, 0.01, (len(HANDS), 3, length))
        _write(root / "Skeleton" / f"{name}_skeleton.mat", d_skel=joints + np.array([[0], [0], [2.5]]))
        _write(root / "Inertial" / f"{name}_inertial.mat", d_iner=_sensed(hand, seen, rng))
    return root


def _sensed(hand: np.ndarray, seen: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(T, 6): acceleration in g and angular velocity in degrees per second at 50 hertz."""
    steps = round(hand.shape[1] / 30 * 50) + 5
    places = np.linspace(0, hand.shape[1] - 1, steps)
    path = np.stack([np.interp(places, np.arange(hand.shape[1]), row) for row in hand * seen])
    sensed = np.concatenate([path + np.array([[0.0], [1.0], [0.0]]), 100 * np.gradient(path, axis=1)])
    return (sensed + rng.normal(0, 0.02, sensed.shape)).T


def _write(path: Path, **arrays: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, arrays, do_compression=True)
