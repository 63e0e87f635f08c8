"""A made-up data set of files: clips on one grid, their sound, and a depth that some samples lack."""

from __future__ import annotations

import dataclasses
import os
import time
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

import pmbench as pm

HEIGHT, WIDTH = 12, 16


def load_frames(path: Path, channels: int):
    """Frames of an .npz; what is not one is a DataError, an empty name breaks as a plugin's mistake would."""
    if path.name == "bug.npz":
        raise ZeroDivisionError("a mistake of the plugin")
    try:
        with np.load(path) as content:
            yield from content["frames"][..., :channels]
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise pm.DataError(f"{path} is not a video: {error}") from error


def load_sound(path: Path) -> np.ndarray:
    try:
        with np.load(path) as content:
            return content["sound"]
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise pm.DataError(f"{path} has no sound: {error}") from error


def rate(path: Path) -> float:
    return float(np.load(path)["rate"])


class Videos(pm.Dataset):
    """Two groups of videos in parts that three splits share, one of them by two names."""

    name = "videos"
    summary = "made up"
    classes = ("left", "right")
    modalities = (
        pm.Modality("rgb", "clip", (3, 4, 8, 10), "8 bit", grid="frame", flip="mirror"),
        pm.Modality("flow", "clip", (2, 4, 8, 10), "px", grid="frame", flip="negate"),
        pm.Modality("sound", "vector", (5,), "1"),
        pm.Modality("face", "image", (3, 8, 10), "8 bit"),
    )
    target = ("rgb",)
    privileged = ("flow", "sound")
    splits: ClassVar = {"one": pm.Split("b+c", "a"), "two": pm.Split("a+c", "b")}
    default_protocol = "one"
    sampling = pm.Sampling(frames=4, test_clips=2)
    backbones: ClassVar = {"rgb": "cnn2d-8", "flow": "cnn2d-8", "sound": "mlp-8", "face": "cnn2d-8"}
    licence, source, citation = "Apache-2.0", "made up", "none"
    unpack = True

    def read(self, source):
        for part in ("a", "b", "c"):
            files = sorted((source / part).glob("*.npz"))
            silent = [f for f in files if "silent" in f.name]
            yield (
                part,
                pm.Part(
                    [f"{part}/{f.stem}" for f in files],
                    np.arange(len(files)) % 2,
                    {
                        "rgb": pm.Files(files, partial(load_frames, channels=3), rate),
                        "flow": pm.Files(files, partial(load_frames, channels=2)),
                        "sound": pm.Files([None if f in silent else f for f in files], load_sound),
                        "face": pm.Files(files, first_frame),
                    },
                    [f.stem.split("-")[0] for f in files],
                ),
            )


def first_frame(path: Path):
    return [next(load_frames(path, 3))]


def video(seed: int, length: int) -> np.ndarray:
    """(length, H, W, 3): smooth enough for JPEG; column x, row y and time t can be read from the pixels."""
    t, y, x = np.meshgrid(np.arange(length), np.arange(HEIGHT), np.arange(WIDTH), indexing="ij")
    return np.stack([40 + 10 * x, 40 + 12 * y, (40 + 8 * t + seed) % 256], 3).astype(np.uint8)


def write(root: Path, each: int = 3) -> Path:
    for number, part in enumerate("abc"):
        (root / part).mkdir(parents=True)
        for i in range(each):
            silent = "-silent" if part == "c" and i == 0 else ""
            np.savez(
                root / part / f"g{i // 2}-{i}{silent}.npz",
                frames=video(10 * number + i, 6 + i),
                sound=np.arange(5, dtype=np.float32) + 10 * number + i,
                rate=24.5,
            )
    return root


def slow(path: Path, folder: Path):
    """Leaves the number of its process, and takes longer than a test waits."""
    (folder / str(os.getpid())).touch()
    time.sleep(60)


class Slow(Videos):
    def read(self, source):
        for name, part in super().read(source):
            rgb = pm.Files(part.arrays["rgb"].items, partial(slow, folder=source))
            yield name, dataclasses.replace(part, arrays={**part.arrays, "rgb": rgb})
