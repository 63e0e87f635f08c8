"""The data set, and where its files lie."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pmbench as pm

from .lists import CLASSES, PATTERNS, SPLITS, TEST, TRAIN, Clip, clips, part_of, parts

if TYPE_CHECKING:
    import numpy as np

LISTS = "testTrainMulti_7030_splits"
SITE = "https://serre-lab.clps.brown.edu/wp-content/uploads/2013/10"


class Hmdb51(pm.Dataset):
    """Clips of 51 actions from films and the web, in three splits of 70 training and 30 test clips a class.

    `stored` (H, W) is the size of the stored frames. Clips with fewer than `short` frames are left out by the
    released code of the MMH paper, and by the protocols drop-short.
    """

    name = "hmdb51"
    summary = "51 actions in 6,766 clips: optical flow -> video"
    classes = CLASSES
    modalities = (
        pm.Modality("rgb", "clip", (3, 16, 224, 224), "8 bit", grid="frame", flip="mirror"),
        pm.Modality("flow", "clip", (2, 16, 224, 224), "20 px / 127.5", grid="frame", flip="negate"),
    )
    target = ("rgb",)
    privileged = ("flow",)
    stored: ClassVar[tuple[int, int]] = (240, 320)
    short: ClassVar[int] = 34
    splits: ClassVar = {
        **{f"split-{k}": pm.Split(parts(k, TRAIN, short=True), parts(k, TEST, short=True)) for k in SPLITS},
        **{
            f"split-{k}-drop-short": pm.Split(parts(k, TRAIN, short=False), parts(k, TEST, short=False))
            for k in SPLITS
        },
    }
    averages: ClassVar = {
        "3-split": tuple(f"split-{k}" for k in SPLITS),
        "3-split-drop-short": tuple(f"split-{k}-drop-short" for k in SPLITS),
    }
    default_protocol = "split-1"
    sampling = pm.Sampling(frames=16, test_clips=10)
    expected: ClassVar = {
        **{parts(k, TRAIN, short=True): 3_570 for k in SPLITS},
        **{parts(k, TEST, short=True): 1_530 for k in SPLITS},
    }
    backbones: ClassVar = {"rgb": "i3d_r50", "flow": "i3d_r50"}
    recipes: ClassVar = {
        "mmh/hmdb51": pm.Recipe(
            optimizer="sgd", lr=1e-3, weight_decay=5e-4, epochs=250, batch_size=16, schedule="step",
            milestones=(0.4, 0.8),
        )
    }  # fmt: skip
    setups: ClassVar = {
        "mmh/hmdb51": pm.Setup(
            papers=("MMH",),
            options={"rad": {"teacher": "late", "alpha": 1.5}},
            weights={"rgb": "kinetics400", "flow": "kinetics400"},
            differs=(
                "I3D of ResNet-50 instead of Inception",
                "validation recordings do not train",
                "clips with fewer than 34 frames stay, but for the protocols drop-short",
            ),
        )
    }
    licence = "CC BY 4.0 as its page says; clips from films and the web; nothing is redistributed"
    source = "https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database/"
    citation = (
        "Kuehne, Jhuang, Garrote, Poggio, Serre: HMDB: A Large Video Database for Human Motion Recognition, "
        "ICCV 2011"
    )
    access = (
        "get hmdb51_org.rar (2.1 GB, an archive of 51 archives; not the stabilized clips or the STIP "
        "features) and test_train_splits.rar (200 kB) into one folder, no registration"
    )
    downloads = (
        pm.Download(f"{SITE}/hmdb51_org.rar", "hmdb51_org.rar"),
        pm.Download(f"{SITE}/test_train_splits.rar", "test_train_splits.rar"),
    )
    unpack = True

    def read(self, source: Path) -> Iterator[tuple[str, pm.Part]]:
        """`source`: a folder with `testTrainMulti_7030_splits` and a folder for each class, or with these one
        level deeper.
        """
        import numpy as np

        listed = clips(read_lists(source, self.classes))
        paths = found(source, self.classes, listed)
        members: dict[str, list[int]] = {
            part_of(flags, short): [] for flags, short in product(PATTERNS, (False, True))
        }
        for i, clip in enumerate(listed):
            members[part_of(clip.flags, is_short(paths[i], self.short))].append(i)
        for part, rows in members.items():
            mine, files = [listed[i] for i in rows], [paths[i] for i in rows]
            yield (
                part,
                pm.Part(
                    [f"{clip.action}/{clip.name}" for clip in mine],
                    np.array([self.classes.index(clip.action) for clip in mine], np.int64),
                    {
                        "rgb": pm.Files(files, partial(frames, size=self.stored), rate),
                        "flow": pm.Files(files, partial(flow, size=self.stored), rate),
                    },
                    [clip.group for clip in mine],
                ),
            )


def read_lists(source: Path, classes: Sequence[str]) -> Mapping[tuple[str, int], list[str]]:
    """(class, split) -> the lines of its official list; raises DataError if one is missing."""
    folder = next((path for path in _folders(source) if path.name == LISTS), None)
    if folder is None:
        raise pm.DataError(
            f"{source} has no folder {LISTS}",
            "it is in test_train_splits.rar: put that beside hmdb51_org.rar, or unpack both into one folder",
        )
    lines = {}
    for action, split in product(classes, SPLITS):
        path = folder / f"{action}_test_split{split}.txt"
        try:
            lines[action, split] = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise pm.DataError(
                f"{path} cannot be read: {error}",
                f"{LISTS} has a list for each of 51 classes and 3 splits; get test_train_splits.rar again",
            ) from error
    return lines


def found(source: Path, classes: Sequence[str], wanted: Sequence[Clip]) -> list[Path]:
    """Where the clips lie, by class and name: folders are listed, since names may hold `[`, `&` or `;`."""
    here: dict[tuple[str, str], Path] = {}
    archives = []
    for folder in _folders(source):
        archives += [entry for entry in os.listdir(folder) if entry in {f"{name}.rar" for name in classes}]
        if folder.name in classes:
            here |= {(folder.name, entry): folder / entry for entry in os.listdir(folder)}
    missing = [clip for clip in wanted if (clip.action, clip.file) not in here]
    if missing and archives and not here:
        raise pm.DataError(
            f"{source}: {len(archives)} archives of classes, such as {archives[0]}, are still packed",
            "give the folder in which they lie, with testTrainMulti_7030_splits or its archive in it, or "
            "hmdb51_org.rar itself beside test_train_splits.rar",
        )
    if missing and not here:
        raise pm.DataError(
            f"{source} has no folder of a class, such as {classes[0]}",
            "hmdb51_org.rar holds an archive for each class, which holds a folder of clips",
        )
    if missing:
        raise pm.DataError(
            f"{source}: {len(missing)} of {len(wanted)} clips are missing, for example "
            f"{missing[0].action}/{missing[0].file}",
            "the archives were not unpacked whole, or not those of hmdb51_org.rar (the stabilized clips and "
            "the STIP features are others)",
        )
    return [here[clip.action, clip.file] for clip in wanted]


def _folders(source: Path) -> list[Path]:
    """`source` and the folders down to three levels below."""
    every, level = [source], [source]
    for _ in range(3):
        level = [path for folder in level for path in sorted(folder.iterdir()) if path.is_dir()]
        every += level
    return every


def is_short(path: Path, short: int) -> bool:
    """Whether a clip has fewer than `short` frames: by its header, by decoding where that is close.

    False for a damaged file, which is reported when it is read.
    """
    try:
        count = pm.media.frame_count(path)
        if count is None or abs(count - short) <= 1:
            count = sum(1 for _ in pm.media.video_frames(path, 16))
    except pm.DataError:
        return False
    return count < short


def frames(path: Path, size: tuple[int, int]) -> Iterator[np.ndarray]:
    return pm.media.video_frames(path, size)


def rate(path: Path) -> float:
    return pm.media.frame_rate(path)


def flow(path: Path, size: tuple[int, int]) -> Iterator[np.ndarray]:
    return pm.media.tvl1(pm.media.video_frames(path, size))
