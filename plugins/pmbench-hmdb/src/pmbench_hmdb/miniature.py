"""Writes a small HMDB51 in the official layout, for tests and demos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pmbench.testing.media import clip, write_video

from .lists import FEW, SPLITS

RECORDINGS = ("#437_How_To", "20060723sf[1]", "50;FIRST!DATES", "(HQ)_Rock_&_Roll", "@home+")


def write_hmdb(
    root: Path,
    *,
    classes: Sequence[str] = FEW,
    recordings: Sequence[str] = RECORDINGS,
    clips: int = 2,
    frames: tuple[int, int] = (28, 40),
    size: tuple[int, int] = (60, 80),
    seed: int = 0,
) -> Path:
    """Writes a folder of clips for each class and `testTrainMulti_7030_splits/` into `root` and returns it.

    Each class has `clips` clips of each recording. `frames` is the range of the number of frames, `size`
    (H, W) in pixels. Split k tests the k-th recording, trains on the others, and does not use the last clip
    of the last one, which split 3 trains on. The pitfalls of the official data are included: names hold
    `[ ] ; ! & #`, widths differ, some clips may be short, headers report one frame too many, a
    file is on no list, and lines end in a blank. The class is the motion of a shape, in noise.
    """
    lists = root / "testTrainMulti_7030_splits"
    lists.mkdir(parents=True, exist_ok=True)
    for label, action in enumerate(classes):
        lines: dict[int, list[str]] = {split: [] for split in SPLITS}
        for place, recording in enumerate(recordings):
            scene = (seed, label, place)
            for number in range(clips):
                rng = np.random.default_rng((*scene, number))
                file = f"{recording}_{action}_f_cm_np1_ri_med_{number}.avi"
                length = int(rng.integers(frames[0], frames[1] + 1))
                height, width = size
                width += 2 * int(rng.integers(0, 4))
                shown = clip(label, length, (height, width), rng, np.random.default_rng(scene))
                write_video(root / action / file, shown, fps=30, reported=length + 1 if number == 0 else None)
                last = place == len(recordings) - 1 and number == clips - 1
                for split in SPLITS:
                    flag = 2 if place == split - 1 else 0 if last and split < 3 else 1
                    lines[split].append(f"{file} {flag} \n")
        (root / action / f"unlisted_{action}_f_cm_np1_ri_med_0.avi").write_bytes(b"")
        for split in SPLITS:
            path = lists / f"{action}_test_split{split}.txt"
            path.write_text("".join(lines[split]), encoding="utf-8")
    return root
