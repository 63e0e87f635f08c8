"""The data set, and where its files lie."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import ClassVar

import pmbench as pm

from .reading import JOINTS, colour, depth, depth_rate, inertial, rate, skeleton

NAME = re.compile(
    r"a(?P<action>\d+)_s(?P<subject>\d+)_t(?P<trial>\d+)_(?P<kind>color\.avi|(?:depth|skeleton|inertial)\.mat)"
)
ABSENT = frozenset({"a8_s1_t4", "a23_s6_t4", "a27_s8_t4"})
"""Recordings that are not distributed: they were damaged."""
ACTIONS, SUBJECTS, TRIALS = range(1, 28), range(1, 9), range(1, 5)
KINDS: Mapping[str, str] = {
    "rgb": "color.avi", "depth": "depth.mat", "skeleton": "skeleton.mat", "inertial": "inertial.mat"
}  # fmt: skip
SITE = "https://personal.utdallas.edu/~kehtar/UTD-MAD"

CLASSES = tuple(
    """
swipe_left swipe_right wave clap throw cross_arms basketball_shoot draw_x draw_circle_clockwise
draw_circle_counterclockwise draw_triangle bowling boxing baseball_swing tennis_swing arm_curl
tennis_serve push knock catch pick_up_and_throw jog walk sit_to_stand stand_to_sit lunge squat
""".split()  # noqa: SIM905
)
"""a1 to a27. The first two are of the right arm: a mirrored clip would be of another class."""


class UtdMhad(pm.Dataset):
    """861 recordings of 27 actions by 8 people, by one Kinect camera and one wearable inertial sensor.

    `stored` (H, W) is the size of the stored frames.
    """

    name = "utd-mhad"
    summary = "27 actions of 8 people: wearable inertial sensor (or depth, skeletons) -> video"
    classes = CLASSES
    modalities = (
        pm.Modality("rgb", "clip", (3, 16, 112, 112), "8 bit"),
        pm.Modality("depth", "clip", (1, 16, 112, 112), "0 to 5 m"),
        pm.Modality("skeleton", "sequence", (JOINTS * 3, 64), "m"),
        pm.Modality("inertial", "sequence", (6, 128), "g, degrees/s"),
    )
    target = ("rgb",)
    privileged = ("inertial",)
    stored: ClassVar[tuple[int, int]] = (120, 160)
    splits: ClassVar = {"cross-subject": pm.Split("odd", "even", validation_groups=("s7",))}
    default_protocol = "cross-subject"
    sampling = pm.Sampling(frames=16, even=True)
    expected: ClassVar = {"odd": 431, "even": 430}
    backbones: ClassVar = {
        "rgb": "r2plus1d_18", "depth": "r2plus1d_18", "skeleton": "cnn1d-32", "inertial": "cnn1d-32"
    }  # fmt: skip
    recipes: ClassVar = {"standard": pm.Recipe(lr=1e-3, epochs=60, batch_size=16)}
    licence = "public, for research; its page states no licence; nothing is redistributed"
    source = "https://personal.utdallas.edu/~kehtar/UTD-MHAD.html"
    citation = (
        "Chen, Jafari, Kehtarnavaz: UTD-MHAD: A Multimodal Dataset for Human Action Recognition Utilizing a "
        "Depth Camera and a Wearable Inertial Sensor, ICIP 2015"
    )
    access = (
        "get RGB.zip (1.1 GB), Depth.zip, Skeleton.zip and Inertial.zip into one folder, no registration; "
        "all but RGB.zip are optional"
    )
    downloads = (
        pm.Download(
            f"{SITE}/RGB.zip",
            "RGB.zip",
            1_106_885_499,
            "058dded078b2c21eff901d98fe0a86d5343d11e9d6c07081aaa3e3280a43052b",
        ),
        pm.Download(
            f"{SITE}/Inertial.zip",
            "Inertial.zip",
            sha256="1900de05775c04626dee30b34638b79dd739d481786f0a788f2fbb00663abea4",
        ),
        pm.Download(f"{SITE}/Skeleton.zip", "Skeleton.zip"),
        pm.Download(f"{SITE}/Depth.zip", "Depth.zip"),
    )
    unpack = True

    def read(self, source: Path) -> Iterator[tuple[str, pm.Part]]:
        """`source`: a folder with the files of the archives, at any depth.

        A recording without a file of a privileged modality lacks it.
        """
        import numpy as np

        files = found(source)
        names = [
            f"a{a}_s{s}_t{t}" for a in ACTIONS for s in SUBJECTS for t in TRIALS if a <= len(self.classes)
        ]
        there = [name for name in names if (name, KINDS["rgb"]) in files and name not in ABSENT]
        loads = {
            "rgb": partial(colour, size=self.stored),
            "depth": partial(depth, size=self.stored),
            "skeleton": partial(skeleton, steps=self.modality("skeleton").shape[1]),
            "inertial": partial(inertial, steps=self.modality("inertial").shape[1]),
        }
        rates = {"rgb": rate, "depth": depth_rate}
        for part, odd in (("odd", 1), ("even", 0)):
            mine = [name for name in there if subject(name) % 2 == odd]
            yield (
                part,
                pm.Part(
                    mine,
                    np.array([int(name[1:].partition("_")[0]) - 1 for name in mine], np.int64),
                    {
                        modality: pm.Files(
                            [files.get((name, kind)) for name in mine], loads[modality], rates.get(modality)
                        )
                        for modality, kind in KINDS.items()
                    },
                    [f"s{subject(name)}" for name in mine],
                ),
            )


def subject(name: str) -> int:
    return int(name.split("_")[1][1:])


def found(source: Path) -> Mapping[tuple[str, str], Path]:
    """(name of the recording, end of the file name) -> file; raises DataError without any video."""
    files: dict[tuple[str, str], Path] = {}
    strange: list[str] = []
    for folder, _, entries in os.walk(source, followlinks=True):
        for entry in sorted(entries):
            match = NAME.fullmatch(entry)
            if match is None:
                continue
            name = entry.removesuffix(f"_{match['kind']}")
            if not _known(match):
                strange.append(entry)
            files.setdefault((name, match["kind"]), Path(folder, entry))
    if strange:
        raise pm.DataError(
            f"{source} holds {strange[0]}; expected actions a1 to a27, subjects s1 to s8 and trials t1 to t4",
            "this is another data set of the same laboratory, or its files are mixed with these",
        )
    if not any(kind == KINDS["rgb"] for _, kind in files):
        seen = _kinds(kind for _, kind in files)
        raise pm.DataError(
            f"{source} has no video a1_s1_t1_color.avi" + (f", only files of {seen}" if seen else ""),
            "RGB.zip is needed: put it, or the folder RGB that it unpacks to, beside the others",
        )
    return files


def _known(match: re.Match[str]) -> bool:
    numbers = (int(match[what]) for what in ("action", "subject", "trial"))
    return all(n in known for n, known in zip(numbers, (ACTIONS, SUBJECTS, TRIALS), strict=True))


def _kinds(kinds: Iterable[str]) -> str:
    return ", ".join(sorted({kind.partition(".")[0] for kind in kinds}))
