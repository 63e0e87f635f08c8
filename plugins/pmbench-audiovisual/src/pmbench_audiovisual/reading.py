"""What the three data sets share: video with sound, its declarations and its readers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pmbench as pm

if TYPE_CHECKING:
    import numpy as np

FACE: tuple[float, float, float, float] = (0.0, 0.21875, 1.0, 0.78125)
"""The middle square of a frame of 16 : 9."""
WHOLE: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
POINTER = b"version https://git-lfs"
"""Start of the file that git writes in place of a large one, unless git-lfs fetches it."""


class AudioVisual(pm.Dataset):
    """Base of all: video at test, its sound besides in training.

    `stored` (H, W) is the size of the stored frames, `crop` the part of the frame that they show. `seconds`
    of sound are kept: longer one is cut, shorter one filled up with silence.
    """

    target = ("rgb",)
    privileged = ("audio",)
    sampling = pm.Sampling(frames=16, even=True)
    stored: ClassVar[tuple[int, int]] = (128, 171)
    crop: ClassVar[tuple[float, float, float, float]] = WHOLE
    seconds: ClassVar[float]
    backbones: ClassVar = {"rgb": "r2plus1d_18", "audio": "cnn14_emb512"}
    recipes: ClassVar = {
        "standard": pm.Recipe(
            optimizer="sgd", lr=1e-3, weight_decay=5e-4, epochs=100, batch_size=16, schedule="step",
            milestones=(0.5, 0.75),
        )
    }  # fmt: skip
    unpack = True

    def part(
        self,
        ids: Sequence[str],
        labels: Sequence[int],
        videos: Sequence[Path],
        sounds: Sequence[Path | None],
        groups: Sequence[str],
    ) -> pm.Part:
        import numpy as np

        return pm.Part(
            ids,
            np.array(labels, np.int64),
            {
                "rgb": pm.Files(videos, partial(frames, size=self.stored, crop=self.crop), rate),
                "audio": pm.Files(sounds, partial(log_mel, seconds=self.seconds), rows=True),
            },
            groups,
        )


def modalities(steps: int) -> tuple[pm.Modality, pm.Modality]:
    """Video, and log-mel of so many steps of 10 ms."""
    return (
        pm.Modality("rgb", "clip", (3, 16, 112, 112), "8 bit", flip="mirror"),
        pm.Modality("audio", "image", (1, 64, steps), "dB"),
    )


def listed(source: Path, name_of: Callable[[str], str | None]) -> Mapping[str, Path]:
    """Name -> file below `source`, at any depth; `name_of` gives the name of a file, None for others."""
    found: dict[str, Path] = {}
    for folder, _, entries in os.walk(source, followlinks=True):
        for entry in sorted(entries):
            if name := name_of(entry):
                found.setdefault(name, Path(folder, entry))
    return found


def not_fetched(path: Path) -> bool:
    """Whether a file is only the pointer of git-lfs to it."""
    with path.open("rb") as file:
        return file.read(len(POINTER)) == POINTER


def sounds(path: Path) -> bool:
    """Whether a video has sound, or is so damaged that reading it will tell."""
    try:
        return pm.media.has_audio(path)
    except pm.DataError:
        return True


def frames(
    path: Path, size: tuple[int, int], crop: tuple[float, float, float, float]
) -> Iterator[np.ndarray]:
    return pm.media.video_frames(path, size, crop=crop)


def rate(path: Path) -> float:
    return pm.media.frame_rate(path)


def log_mel(path: Path, seconds: float) -> np.ndarray:
    """(1, mel, time) in decibels."""
    return pm.media.log_mel(pm.media.sound(path), seconds=seconds)[None]
