"""Writes a small ActivityNet 1.3 in the official layout, for tests and demos."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pmbench.testing.media import RATE, clip, tone, write_video

from .classes import FEW

RATES = (10, 15, 30)  # frames per second


def write_activitynet(
    root: Path,
    *,
    classes: Sequence[str] = FEW,
    training: int = 6,
    validation: int = 3,
    seconds: tuple[float, float] = (3.0, 5.0),
    size: tuple[int, int] = (60, 80),
    seed: int = 0,
) -> Path:
    """Writes `activity_net.v1-3.min.json` and a folder of videos for each subset into `root` and returns it.

    Each class has `training` and `validation` videos, of `seconds` length. The pitfalls of the official data
    are included: ids start with `-` or `_`; rates of frames differ, and one is variable; a video has another
    label for a shorter time; the first training video of a class has no sound; containers are MP4 and
    Matroska; one test video has no label. The class is a motion, in noise, and the pitch of the sound.
    """
    database = {"-----test--0": {"subset": "testing", "duration": 3.0, "annotations": []}}
    for label, name in enumerate(classes):
        for subset, count in (("training", training), ("validation", validation)):
            for number in range(count):
                rng = np.random.default_rng((seed, label, number, subset == "training"))
                key = f"{'-_a'[number % 3]}{subset[0]}{label:02d}_-{number:05d}"
                fps, lasts = RATES[number % len(RATES)], float(rng.uniform(*seconds))
                shown = clip(label, round(lasts * 10), size, rng, np.random.default_rng((seed, label)))
                times = [t * fps // 10 for t in range(len(shown))]
                if number == 1:  # every third frame is missing, the one before is shown longer
                    kept = [n for n in range(len(shown)) if n % 3 != 2]
                    shown, times = shown[kept], [times[n] for n in kept]
                sound = tone(label, len(classes), lasts, RATE, rng)
                ending = "mkv" if number % 3 == 2 else "mp4"
                write_video(
                    root / subset / f"v_{key}.{ending}",
                    shown,
                    fps=fps,
                    times=times,
                    sound=None if subset == "training" and number == 0 else sound,
                )
                other = classes[(label + 1) % len(classes)]
                database[key] = {
                    "subset": subset,
                    "duration": lasts,
                    "resolution": f"{size[1]}x{size[0]}",
                    "url": f"https://www.youtube.com/watch?v={key}",
                    "annotations": [
                        {"label": name, "segment": [0.0, lasts / 4]},
                        {"label": other, "segment": [0.0, lasts / 3]},
                        {"label": name, "segment": [lasts / 3, lasts]},
                    ],
                }
    document = {"version": "VERSION 1.3", "taxonomy": [], "database": database}
    (root / "activity_net.v1-3.min.json").write_text(json.dumps(document), encoding="utf-8")
    return root
