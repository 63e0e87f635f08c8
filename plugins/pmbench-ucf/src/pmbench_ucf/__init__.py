"""UCF101: video with optical flow privileged; UCF51, its classes with sound: video with audio privileged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pmbench as pm

from .classes import CLASSES, SOUNDING
from .lists import REST, SPLITS, Clip, clips, fold, numbered

if TYPE_CHECKING:
    import numpy as np

VIDEOS, LISTS = "UCF-101", "ucfTrainTestlist"
FEATURES = "audiocnn14embed512_features"
"""Published with arXiv:2104.10955, github.com/yanbeic/CCL: a vector of CNN14 for each clip with sound."""
VALIDATION = ("g24", "g25")
"""Groups that every split trains on."""

EVERYTHING = "+".join([*map(fold, SPLITS), REST])

SPLIT: Mapping[str, pm.Split] = {
    f"split-{k}": pm.Split(
        train="+".join([*(fold(other) for other in SPLITS if other != k), REST]),
        test=fold(k),
        validation_groups=VALIDATION,
    )
    for k in SPLITS
}


class Ucf(pm.Dataset):
    """Base of both: clips of 25 groups per class, three splits by groups.

    `stored` (H, W) is the size of the stored frames.
    """

    splits: ClassVar = SPLIT
    averages: ClassVar = {"3-split": tuple(SPLIT)}
    target = ("rgb",)
    default_protocol = "split-1"
    sampling = pm.Sampling(frames=16, test_clips=10)
    stored: ClassVar[tuple[int, int]]
    licence = "clips from YouTube, for research; the data set states no licence; nothing is redistributed"
    source = "https://www.crcv.ucf.edu/research/data-sets/ucf101/"
    citation = (
        "Soomro, Zamir, Shah: UCF101: A Dataset of 101 Human Actions Classes From Videos in The Wild, "
        "CRCV-TR-12-01 (2012), arXiv:1212.0402"
    )
    access = (
        "get UCF101.rar (about 6.5 GB) and UCF101TrainTestSplits-RecognitionTask.zip (not the one of the "
        "detection task) into one folder"
    )
    downloads = (
        pm.Download("https://www.crcv.ucf.edu/datasets/human-actions/ucf101/UCF101.rar", "UCF101.rar"),
        pm.Download(
            "https://www.crcv.ucf.edu/wp-content/uploads/2019/03/UCF101TrainTestSplits-RecognitionTask.zip",
            "UCF101TrainTestSplits-RecognitionTask.zip",
        ),
    )
    unpack = True

    def privileged_files(self, source: Path, paths: list[Path]) -> Mapping[str, pm.Files]:
        """The privileged modalities of the videos at `paths`, one item each."""
        raise NotImplementedError(f"{type(self).__name__} does not declare its privileged files")

    def read(self, source: Path) -> Iterator[tuple[str, pm.Part]]:
        """`source`: a folder with `UCF-101` and `ucfTrainTestlist`."""
        import numpy as np

        videos, lists = _folder(source, VIDEOS), _folder(source, LISTS)
        kept = [clip for clip in listed(lists) if clip.action in self.classes]
        paths = found(videos, kept)
        for part in (*map(fold, SPLITS), REST):
            rows = [i for i, clip in enumerate(kept) if clip.part == part]
            mine = [paths[i] for i in rows]
            yield (
                part,
                pm.Part(
                    [kept[i].name for i in rows],
                    np.array([self.classes.index(kept[i].action) for i in rows], np.int64),
                    {
                        "rgb": pm.Files(mine, partial(frames, size=self.stored), rate),
                        **self.privileged_files(source, mine),
                    },
                    [f"g{kept[i].group:02d}" for i in rows],
                ),
            )


class Ucf101(Ucf):
    """13,320 clips of 101 actions; optical flow from frame to frame is privileged."""

    name = "ucf101"
    summary = "101 actions in 13,320 clips: optical flow -> video"
    classes = CLASSES
    modalities = (
        pm.Modality("rgb", "clip", (3, 16, 224, 224), "8 bit", grid="frame", flip="mirror"),
        pm.Modality("flow", "clip", (2, 16, 224, 224), "20 px / 127.5", grid="frame", flip="negate"),
    )
    privileged = ("flow",)
    stored = (240, 320)
    expected: ClassVar = {"fold-1": 3_783, EVERYTHING: 13_320}
    backbones: ClassVar = {"rgb": "i3d_r50", "flow": "i3d_r50"}
    recipes: ClassVar = {
        "mmh/ucf101": pm.Recipe(
            optimizer="sgd",
            lr=1e-3,
            weight_decay=5e-4,
            epochs=250,
            batch_size=16,
            schedule="step",
            milestones=(0.4, 0.8),
        )
    }
    setups: ClassVar = {
        "mmh/ucf101": pm.Setup(
            papers=("MMH",),
            options={"rad": {"teacher": "late", "alpha": 0.25}},
            weights={"rgb": "kinetics400", "flow": "kinetics400"},
            differs=("I3D of ResNet-50 instead of Inception", "validation groups do not train"),
        )
    }

    def privileged_files(self, source: Path, paths: list[Path]) -> Mapping[str, pm.Files]:
        return {"flow": pm.Files(paths, partial(flow, size=self.stored), rate)}


class Ucf51(Ucf):
    """6,845 clips of the 51 actions of UCF101 that come with sound; the sound is privileged."""

    name = "ucf51"
    summary = "51 actions with sound in 6,845 clips: audio -> video"
    classes = SOUNDING
    modalities = (
        pm.Modality("rgb", "clip", (3, 16, 112, 112), "8 bit", grid="frame", flip="mirror"),
        pm.Modality("audio", "image", (1, 64, 1001), "dB"),
        pm.Modality("cnn14", "vector", (512,), "1"),
    )
    privileged = ("audio",)
    seconds: ClassVar = 10.0  # of sound: longer one is cut, shorter one filled up with silence
    stored = (128, 171)
    expected: ClassVar = {"fold-1": 1_944, EVERYTHING: 6_845}
    metrics = ("accuracy", "mean_class_accuracy", "macro_f1", "r@1", "r@5")
    backbones: ClassVar = {"rgb": "r2plus1d_18", "audio": "cnn14_emb512", "cnn14": "mlp-64"}
    recipes: ClassVar = {
        "amid/ucf51": pm.Recipe(
            optimizer="sgd",
            lr=1e-3,
            weight_decay=5e-4,
            epochs=300,
            batch_size=16,
            schedule="step",
            milestones=(0.5, 0.75),
        )
    }
    setups: ClassVar = {
        "amid/ucf51": pm.Setup(
            papers=("AMID",),
            weights={"audio": "audioset"},
            differs=(
                "the audio network learns the classes before it is frozen",
                "crops of one size in training, 10 clips of each video at test",
                "validation groups do not train",
            ),
        )
    }

    def privileged_files(self, source: Path, paths: list[Path]) -> Mapping[str, pm.Files]:
        sounding = [path if _sounds(path) else None for path in paths]
        vectors = _features(source)
        return {
            "audio": pm.Files(sounding, partial(log_mel, seconds=self.seconds), rows=True),
            "cnn14": pm.Files([vectors.get(_key(path)) for path in paths], embedding),
        }


def listed(folder: Path) -> list[Clip]:
    """All clips of the lists in `folder`."""

    def lines(name: str) -> list[str]:
        try:
            return (folder / name).read_text(encoding="ascii").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise pm.DataError(
                f"{folder / name} cannot be read: {error}",
                "get UCF101TrainTestSplits-RecognitionTask.zip; the one of the detection task is another",
            ) from error

    return clips(
        numbered(lines("classInd.txt")),
        {k: lines(f"trainlist{k:02d}.txt") for k in SPLITS},
        {k: lines(f"testlist{k:02d}.txt") for k in SPLITS},
    )


def found(videos: Path, wanted: Iterable[Clip]) -> list[Path]:
    """Where the clips lie. Upper and lower case do not count: the folder HandstandPushups holds files that
    say HandStandPushups, and some copies spell both alike.
    """
    here = {_key(path): path for path in videos.glob("*/*.avi")}
    paths = {clip.file: here.get(_key(Path(clip.file))) for clip in wanted}
    missing = [file for file, path in paths.items() if path is None]
    if missing:
        raise pm.DataError(
            f"{videos}: {len(missing)} of {len(paths)} clips are missing, for example {missing[0]}",
            "the archive was not unpacked whole",
        )
    return [path for path in paths.values() if path is not None]


def frames(path: Path, size: tuple[int, int]) -> Iterator[np.ndarray]:
    return pm.media.video_frames(path, size)


def rate(path: Path) -> float:
    return pm.media.frame_rate(path)


def flow(path: Path, size: tuple[int, int]) -> Iterator[np.ndarray]:
    return pm.media.tvl1(pm.media.video_frames(path, size))


def log_mel(path: Path, seconds: float) -> np.ndarray:
    """(1, mel, time) in decibels."""
    return pm.media.log_mel(pm.media.sound(path), seconds=seconds)[None]


def embedding(path: Path) -> np.ndarray:
    """(512,) as published."""
    import numpy as np

    try:
        return np.load(path, allow_pickle=False)
    except Exception as error:  # a damaged head can raise almost any
        raise pm.DataError(f"{path} is not an array as numpy writes it: {error}") from error


def _sounds(path: Path) -> bool:
    """Whether a clip has sound, or is so damaged that reading it will tell."""
    try:
        return pm.media.has_audio(path)
    except pm.DataError:
        return True


def _key(path: Path) -> str:
    """A clip by its class and name, as files of all kinds and spellings have it."""
    return f"{path.parent.name}/{path.stem}".lower()


def _features(source: Path) -> dict[str, Path]:
    """Published vectors by clip; none where they are not there."""
    folders = [source, *sorted(path for path in source.iterdir() if path.is_dir())]
    files = [path for folder in folders for path in sorted((folder / FEATURES).glob("*/v_*.npy"))]
    return {_key(path): path for path in files}


def _folder(source: Path, name: str) -> Path:
    for path in (source / name, source, *sorted(source.glob(f"*/{name}"))):
        if path.name == name and path.is_dir():
            return path
    raise pm.DataError(f"{source} has no folder {name}", f"expected {VIDEOS} and {LISTS} in it")


@pm.hookimpl
def pmbench_datasets() -> Iterable[pm.Dataset]:
    from .demos import Ucf51Demo, Ucf101Demo  # which imports this module

    return (Ucf101(), Ucf51(), Ucf101Demo(), Ucf51Demo())
