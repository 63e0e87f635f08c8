"""Writes small object crops in the official layout, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pmbench.testing.media import write_image

from . import CLASSES


def write_nyud(
    root: Path,
    *,
    counts: Sequence[int] = (4, 3),
    size: int = 20,
    raw: bool = False,
    predicted: bool = True,
    seed: int = 0,
) -> Path:
    """Writes `NYUD_multimodal/{train,test}/{images,depth,FCRN_depth}/<class>/` into `root` and returns it.

    There are `counts` crops of each class to train and to test, and one more to train of the fifth, all of
    about `size` pixels and of other sizes and aspects. Depth is an HHA image of three channels, or with `raw`
    16 bits of millimetres. The first crop has no depth. Names are equal, endings are not. The class is the
    pattern of the surface, noisy in colour.
    """
    rng = np.random.default_rng(seed)
    base = root / "NYUD_multimodal"
    for part, count in zip(("train", "test"), counts, strict=True):
        for label, kind in enumerate(CLASSES):
            for number in range(count + (part == "train" and label == 4)):
                height, width = rng.integers(size, 2 * size, 2)
                y, x = np.mgrid[:height, :width] / height
                wave = 0.5 + 0.5 * np.sin(6 * (1 + label % 5) * x + 4 * (label // 5) * y)
                shade = 60 + 120 * wave[..., None] * rng.uniform(0.7, 1, 3)
                noisy = np.clip(shade + rng.normal(0, 40, (height, width, 3)), 0, 255).astype(np.uint8)
                name = f"{kind}/img_{number:04d}"
                write_image(base / part / "images" / f"{name}.jpg", noisy)
                if predicted:
                    write_image(base / part / "FCRN_depth" / f"{name}.png", noisy[..., ::-1])
                if part == "train" and label == number == 0:
                    continue
                far = 2_000 + 800 * wave + rng.normal(0, 10, wave.shape)
                encoded = np.stack([310_000 / far, 120 * y / y.max(), 128 + 40 * wave], -1).astype(np.uint8)
                write_image(
                    base / part / "depth" / f"{name}.png", np.rint(far).astype(np.uint16) if raw else encoded
                )
    return root
