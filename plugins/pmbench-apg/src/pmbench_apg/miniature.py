"""Writes small folders of the three kinds, for tests."""

from __future__ import annotations

import bz2
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.io.wavfile

from pmbench.testing.media import write_image

from .mod import COLUMNS, RATES
from .patches import NODES, PATCHES, RATE, SIDE

PLACES = {"n1": (0.0, 0.0), "n2": (30.0, 0.0), "n3": (60.0, 0.0)}


def write_apg(
    root: Path, *, recordings: Sequence[str] = ("r1", "r2", "r3", "r4"), each: int = 4, seed: int = 0
) -> Path:
    """Writes `patches.csv`, `nodes.csv`, `frames`, `seismic` and `acoustic` into `root` and returns it.

    The last recording tests. Each has `each` frames of 96 x 128 pixels, one a second, with a person that
    walks past the nodes, one patch with it and one without. Steps and voice are strong at the node nearest to
    it; in the image it is a bright bar in noise.
    """
    rows = []
    rng = np.random.default_rng(seed)
    for recording in recordings:
        seconds = each + 1
        path = np.linspace(2, 58, each)  # metres
        t = np.arange(seconds * RATE) / RATE
        for node, place in PLACES.items():
            loud = np.interp(t, 0.5 + np.arange(each), 1 / (1 + ((path - place[0]) / 8) ** 2))
            for sensor, hertz in (("seismic", 12), ("acoustic", 200)):
                signal = loud * np.sin(2 * np.pi * hertz * t) + rng.normal(0, 0.05, len(t))
                file = root / sensor / recording / f"{node}.npy"
                file.parent.mkdir(parents=True, exist_ok=True)
                np.save(file, signal.astype(np.float32), allow_pickle=False)
        for number in range(each):
            frame = np.repeat(rng.normal(100, 40, (96, 128, 1)), 3, -1)
            frame[20:60, 20:32] += 60
            write_image(
                root / "frames" / recording / f"{number:04d}.png", np.clip(frame, 0, 255).astype(np.uint8)
            )
            for label, corner in ((1, (0, 8)), (0, (128 - SIDE, 96 - SIDE))):
                split = "test" if recording == recordings[-1] else "train"
                name = f"{recording}-{number}-{label}"
                time, here = f"{number + 0.5:g}", f"{path[number]:g}"
                rows.append((name, split, label, recording, f"{number:04d}.png", time, *corner, here, "0"))
    _write(root / "patches.csv", PATCHES, rows)
    _write(root / "nodes.csv", NODES, [(node, *place) for node, place in PLACES.items()])
    return root


def write_sensit(root: Path, *, counts: tuple[int, int] = (30, 12), seed: int = 0) -> Path:
    """Writes `combined.bz2` and `combined.t.bz2` with a class mean plus noise into `root` and returns it."""
    root.mkdir(parents=True, exist_ok=True)
    means = np.random.default_rng(seed).normal(0, 1, (3, 100))
    for name, count in zip(("combined.bz2", "combined.t.bz2"), counts, strict=True):
        rng = np.random.default_rng((seed, count))
        lines = []
        for number in range(count):
            values = means[number % 3] + rng.normal(0, [2.0] * 50 + [0.5] * 50)
            pairs = " ".join(f"{index}:{value:.5g}" for index, value in enumerate(values, 1) if index % 17)
            lines.append(f"{number % 3 + 1} {pairs} \n")
        (root / name).write_bytes(bz2.compress("".join(lines).encode()))
    return root


def write_mod(root: Path, *, seconds: float = 6.5, kinds: int = 7, seed: int = 0) -> Path:
    """Writes `recordings.csv`, `acoustic` and `seismic` into `root` and returns it.

    Each kind of target has three recordings of `seconds`, the last of which tests. It is a tone of its own in
    both sensors, noisy in the seismic one. Sounds are WAV files, other signals arrays.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for sensor in RATES:
        (root / sensor).mkdir(parents=True, exist_ok=True)
    for kind in range(kinds):
        for number in range(3):
            name = f"k{kind}-r{number}"
            rows.append((name, "test" if number == 2 else "train", kind))
            for sensor, rate in RATES.items():
                hertz = rate / 50 * (2 + 3 * kind)
                tone = np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
                heard = 0.2 * tone + rng.normal(0, 0.3 if sensor == "seismic" else 0.02, len(tone))
                if sensor == "acoustic":
                    samples = (32_767 * np.clip(heard, -1, 1)).astype(np.int16)
                    scipy.io.wavfile.write(root / sensor / f"{name}.wav", rate, samples)
                else:
                    np.save(root / sensor / f"{name}.npy", heard.astype(np.float32), allow_pickle=False)
    _write(root / "recordings.csv", COLUMNS, rows)
    return root


def _write(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
