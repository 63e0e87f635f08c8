"""The data set, and where its files lie."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pmbench as pm

from .annotations import SUBSETS, id_of, videos
from .classes import CLASSES

if TYPE_CHECKING:
    import numpy as np

ANNOTATIONS = "activity_net.v1-3.min.json"
HERTZ = 32_000  # of `pm.media.sound`


class ActivityNet(pm.Dataset):
    """Long videos from the web, each with one of 200 activities in it.

    `stored` (H, W) is the size of the stored frames, of which there are `fps` a second whatever the file has.
    `seconds` of sound are taken from the middle.
    """

    name = "activitynet"
    summary = "200 activities in 14,950 long videos: audio -> video"
    classes = CLASSES
    modalities = (
        pm.Modality("rgb", "clip", (3, 16, 112, 112), "8 bit", flip="mirror"),
        pm.Modality("audio", "image", (1, 64, 1001), "dB"),
    )
    target = ("rgb",)
    privileged = ("audio",)
    stored: ClassVar[tuple[int, int]] = (128, 171)
    fps: ClassVar[float] = 5.0
    seconds: ClassVar[float] = 10.0
    splits: ClassVar = {"standard": pm.Split("train", "validation")}
    default_protocol = "standard"
    sampling = pm.Sampling(frames=16, test_clips=10)
    expected: ClassVar = {"train": 10_024, "validation": 4_926}
    metrics = ("accuracy", "mean_class_accuracy", "macro_f1", "r@1", "r@5")
    backbones: ClassVar = {"rgb": "r2plus1d_18", "audio": "cnn14_emb512"}
    recipes: ClassVar = {
        "amid/activitynet": pm.Recipe(
            optimizer="sgd", lr=1e-3, weight_decay=5e-4, epochs=300, batch_size=16, schedule="step",
            milestones=(0.5, 0.75),
        )
    }  # fmt: skip
    setups: ClassVar = {
        "amid/activitynet": pm.Setup(
            papers=("AMID",),
            weights={"audio": "audioset"},
            differs=(
                "5 frames a second and the 10 seconds of sound in the middle, where the paper is silent",
                "the audio network learns the classes before it is frozen",
                "part of the training videos do not train",
            ),
        )
    }
    licence = "videos from YouTube, for research; annotations by their authors; nothing is redistributed"
    source = "http://activity-net.org/download.html"
    citation = (
        "Caba Heilbron, Escorcia, Ghanem, Niebles: ActivityNet: A Large-Scale Video Benchmark for Human "
        "Activity Understanding, CVPR 2015"
    )
    access = (
        f"put {ANNOTATIONS} and the videos of training and validation (v_<id>.mp4; some 650 hours with the "
        "test videos, hundreds of GB) into one folder; for videos that are no longer on YouTube the page has "
        "a form that gives access to all of them for some days"
    )
    unpack = True

    def read(self, source: Path) -> Iterator[tuple[str, pm.Part]]:
        """`source`: a folder with the annotations and the videos, at any depth."""
        import numpy as np

        annotations, files = found(source)
        labelled = [video for video in annotated(annotations, self.classes) if video.id in files]
        if not labelled:
            raise pm.DataError(
                f"{source} holds {len(files)} videos, none of which is labelled in {annotations.name}",
                "videos of training and validation are needed; the labels of the test videos are withheld",
            )
        for part in SUBSETS.values():
            mine = [video for video in labelled if video.part == part]
            paths = [files[video.id] for video in mine]
            yield (
                part,
                pm.Part(
                    [video.id for video in mine],
                    np.array([self.classes.index(video.label) for video in mine], np.int64),
                    {
                        "rgb": pm.Files(
                            paths,
                            partial(frames, size=self.stored, fps=self.fps),
                            partial(rate, fps=self.fps),
                        ),
                        "audio": pm.Files(
                            [path if _sounds(path) else None for path in paths],
                            partial(log_mel, seconds=self.seconds),
                            rows=True,
                        ),
                    },
                ),
            )


def found(source: Path) -> tuple[Path, Mapping[str, Path]]:
    """The annotations, and id -> video; of several files of one video the largest. Raises DataError."""
    annotations: dict[str, Path] = {}
    files: dict[str, list[Path]] = {}
    for folder, _, entries in os.walk(source, followlinks=True):
        for entry in sorted(entries):
            if entry.startswith("activity_net") and entry.endswith(".json"):
                annotations.setdefault(entry, Path(folder, entry))
            elif name := id_of(entry):
                files.setdefault(name, []).append(Path(folder, entry))
    if ANNOTATIONS not in annotations:
        others = f", only {', '.join(sorted(annotations))}" if annotations else ""
        raise pm.DataError(
            f"{source} has no {ANNOTATIONS}{others}",
            "it comes with the evaluation code, github.com/activitynet/ActivityNet, folder Evaluation/data",
        )
    if not files:
        raise pm.DataError(
            f"{source} has no video v_<id>.mp4, .mkv or .webm",
            "features and frames will not do: the videos themselves are read",
        )
    return annotations[ANNOTATIONS], {
        name: max(paths, key=lambda path: path.stat().st_size) for name, paths in files.items()
    }


def annotated(path: Path, classes: tuple[str, ...]) -> list[Any]:
    try:
        return videos(json.loads(path.read_text(encoding="utf-8")), classes)
    except (OSError, ValueError) as error:
        raise pm.DataError(f"{path} cannot be read: {error}", "get it again") from error
    except pm.DataError as error:
        raise pm.DataError(f"{path}: {error.message}", error.hint) from error


def frames(path: Path, size: tuple[int, int], fps: float) -> Iterator[np.ndarray]:
    return pm.media.video_frames(path, size, fps=fps)


def rate(path: Path, fps: float) -> float:
    return fps


def log_mel(path: Path, seconds: float) -> np.ndarray:
    """(1, mel, time) in decibels, of the middle of the recording."""
    samples = pm.media.sound(path)
    start = max(0, len(samples) - round(seconds * HERTZ)) // 2
    return pm.media.log_mel(samples[start:], seconds=seconds)[None]


def _sounds(path: Path) -> bool:
    """Whether a video has sound, or is so damaged that reading it will tell."""
    try:
        return pm.media.has_audio(path)
    except pm.DataError:
        return True
