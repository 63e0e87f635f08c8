"""Writes a small NTU RGB+D in the official layout, for tests and demos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np

from pmbench.testing.media import MOTIONS, moving, noisy, painted, write_image, write_video

DEPTH, COLOUR = (424, 512), (1080, 1920)  # pixels of the sensor's two images
FOCAL = 366.0  # pixels, of the depth camera
SCALE, OFFSET = 0.339, np.array([-69.0, 28.0])  # depth = SCALE * colour + OFFSET, as (x, y)
HANDS = (7, 11, 21, 22, 23, 24)  # joints that move with the action
BODY = (0.45, 1.6)  # width and height in metres
WALL = 4.6  # metres


def write_ntu(
    root: Path,
    *,
    actions: Sequence[int] = (1, 2, 3, 4),
    subjects: Sequence[int] = (1, 2, 3, 4, 6, 7),
    setups: Sequence[int] = (1, 2),
    cameras: Sequence[int] = (1, 2, 3),
    replications: Sequence[int] = (1,),
    frames: tuple[int, int] = (18, 26),
    scale: float = 0.15,
    seed: int = 0,
) -> Path:
    """Writes the folders of colour, masked depth, infrared and skeletons into `root` and returns it.

    There is one sample for each action, subject, camera and replication; setups alternate. `frames` is the
    range of the number of frames, `scale` the size of images relative to the official one. The pitfalls of
    the official data are included: depth has up to two frames fewer than colour; the second sample has no
    skeleton and is on the list of missing skeletons; some frames show no body, some a second, still one.
    The class is the motion of a hand: noisy in colour, clear in depth and skeleton. Six classes differ.
    """
    missing = []
    samples = product(subjects, actions, cameras, replications)
    for turn, (subject, action, camera, replication) in enumerate(samples):
        setup = setups[subject % len(setups)]
        name = f"S{setup:03d}C{camera:03d}P{subject:03d}R{replication:03d}A{action:03d}"
        rng = np.random.default_rng((seed, subject, action, camera, replication))
        length = int(rng.integers(frames[0], frames[1] + 1))
        joints = _joints(MOTIONS[(action - 1) % len(MOTIONS)], length, camera, rng)
        write_video(root / "nturgb+d_rgb" / f"{name}_rgb.avi", _colour(joints, scale, rng), fps=30)
        joints = joints[: length - turn % 3]
        depth, infrared = _depth(joints, scale, rng)
        write_video(root / "nturgb+d_ir" / f"{name}_ir.avi", infrared, fps=30)
        for number, frame in enumerate(depth, 1):
            write_image(root / "nturgb+d_depth_masked" / name / f"MDepth-{number:08d}.png", frame)
        if turn == 1:
            missing.append(name)
        else:
            write_skeleton(root / "nturgb+d_skeletons" / f"{name}.skeleton", _bodies(joints, turn))
    head = "Samples with missing skeletons\n\n(of this miniature)\n"
    (root / "NTU_RGBD_samples_with_missing_skeletons.txt").write_text(head + "\n".join(missing) + "\n")
    return root


def write_skeleton(path: Path, frames: Sequence[Mapping[str, np.ndarray]]) -> None:
    """A `.skeleton` file: for each frame, the id of each body and its joints (25, 12).

    The values of a joint: x, y, z in metres; x, y in pixels of the depth, then of the colour image; four of
    its orientation; the tracking state, 2 tracked, 1 inferred, 0 not tracked.
    """
    lines = [str(len(frames))]
    for bodies in frames:
        lines.append(str(len(bodies)))
        for name, joints in bodies.items():
            lines += [f"{name} 0 1 1 1 1 0 0.05 -0.2 2", str(len(joints))]
            lines += [" ".join(f"{value:.7g}" for value in joint) for joint in joints]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def _joints(motion: str, length: int, camera: int, rng: np.random.Generator) -> np.ndarray:
    """(T, 25, 3) in metres from the camera: x right, y up, z away. A standing body with a moving hand."""
    place = np.array([(camera - 2) * 0.3 + rng.uniform(-0.1, 0.1), 0.0, rng.uniform(2.2, 2.6)])
    body = np.random.default_rng(0).uniform(-0.5, 0.5, (25, 3)) * (*BODY, 0.1)
    joints = np.tile(place + body, (length, 1, 1)) + rng.normal(0, 0.003, (length, 25, 3))
    centre, radius, seen = moving(motion, length, rng)
    hand = np.stack([(centre[:, 1] - 0.65) * 1.8, (0.5 - centre[:, 0]) * 1.8, -0.3 - 3 * (radius - 0.15)], 1)
    hand[seen == 0] = (0.3, -0.4, -0.1)
    joints[:, HANDS] = (place + hand)[:, None] + rng.normal(0, 0.003, (length, len(HANDS), 3))
    return joints


def _pixels(joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x and y in pixels of the depth image."""
    return 256 + FOCAL * joints[..., 0] / joints[..., 2], 212 - FOCAL * joints[..., 1] / joints[..., 2]


def _seen(joints: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(T, H, W): 0 the wall, 1 the body, 2 the hand, at pixels `x` (W,) and `y` (H,) of the depth image."""
    shown = np.zeros((len(joints), len(y), len(x)), np.uint8)
    hand, body = joints[:, HANDS].mean(1), np.delete(joints, HANDS, 1).mean(1)
    for mark, (middle, size) in enumerate(((body, BODY), (hand, (0.4, 0.4))), 1):
        across, down = (pixel[:, None, None] for pixel in _pixels(middle))
        half = FOCAL / 2 / middle[:, 2, None, None]
        away = np.hypot((x - across) / (half * size[0]), (y[:, None] - down) / (half * size[1]))
        shown[away < 1] = mark
    return shown


def _grid(official: tuple[int, int], scale: float) -> tuple[np.ndarray, np.ndarray]:
    """x (W,) and y (H,) of the pixels of a smaller image, in those of the official one; both even."""
    height, width = (2 * round(length * scale / 2) for length in official)
    return (np.arange(width) + 0.5) * official[1] / width, (np.arange(height) + 0.5) * official[0] / height


def _colour(joints: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """(T, H, W, 3) uint8: the scene and an uninformative moving shape, with noise."""
    x, y = _grid(COLOUR, scale)
    wall, body, hand, other = np.array([[70.0], [120.0], [210.0], [160.0]]) + rng.uniform(-20, 20, (4, 3))
    shown = _seen(joints, SCALE * x + OFFSET[0], SCALE * y + OFFSET[1])
    canvas = np.array([wall, body, hand], np.float32)[shown]
    centre, radius, seen = moving(str(rng.choice(MOTIONS)), len(joints), rng)
    painted(canvas, "disc", centre, 0.5 * radius, seen, other)
    return noisy(canvas, 40, rng)


def _depth(joints: np.ndarray, scale: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Masked depth (T, H, W) uint16 in millimetres, and infrared (T, H, W, 3) uint8 of the same scene."""
    x, y = _grid(DEPTH, scale)
    shown = _seen(joints, x, y)
    distance = np.stack(
        [
            np.full(len(joints), WALL),
            np.delete(joints, HANDS, 1)[..., 2].mean(1),
            joints[:, HANDS, 2].mean(1),
        ],
        1,
    )  # (T, 3)
    depth = distance[np.arange(len(joints))[:, None, None], shown] + rng.normal(0, 0.01, shown.shape)
    across, down = _pixels(joints)  # the mask: a box around all joints
    for frame, (u, v) in enumerate(zip(across, down, strict=True)):
        inside = (x > u.min() - 25) & (x < u.max() + 25)
        depth[frame] *= inside & ((y > v.min() - 25) & (y < v.max() + 25))[:, None]
    grey = noisy(np.array([60, 120, 200], np.float32)[shown], 15, rng)
    return np.rint(depth * 1000).astype(np.uint16), np.repeat(grey[..., None], 3, -1)


def _bodies(joints: np.ndarray, turn: int) -> list[dict[str, np.ndarray]]:
    """Frames of a skeleton file: some samples have no body in the first frame, some a second, still one."""
    pixels = np.stack(_pixels(joints), -1)  # (T, 25, 2)
    orientation, tracked = np.zeros((*joints.shape[:2], 4)), np.full((*joints.shape[:2], 1), 2)
    values = np.concatenate([joints, pixels, (pixels - OFFSET) / SCALE, orientation, tracked], -1)
    frames = [{"72057594037931101": frame} for frame in values]
    if turn % 4 == 2:
        frames = [{"72057594037931102": values[0], **frame} for frame in frames]
    if turn % 5 == 3:
        frames[0] = {}
    return frames
