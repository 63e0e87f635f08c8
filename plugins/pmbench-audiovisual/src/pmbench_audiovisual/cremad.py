"""CREMA-D: spoken emotions of 91 actors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pmbench as pm

from .reading import AudioVisual, listed, modalities, not_fetched

NAME = re.compile(r"(?P<actor>\d{4})_(?P<sentence>[A-Z]{3})_(?P<emotion>[A-Z]{3})_(?P<level>LO|MD|HI|XX|X)")
EMOTIONS = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
FOLDS = range(1, 6)
UNUSABLE = frozenset({"1076_MTI_SAD_XX", "1064_IEO_DIS_MD"})
"""Known faults of the published sound: the first is silent, the second has every emotion of its sentence."""
ALL = "+".join(f"fold-{k}" for k in FOLDS)


def fold(actor: int) -> int:
    """The fold that tests an actor: 1 to 5. None of fold 1 has an unusable sound."""
    return actor % 5 + 1


class CremaD(AudioVisual):
    """7,442 clips of 12 sentences in 6 emotions; the sound is privileged."""

    name = "crema-d"
    summary = "6 emotions spoken by 91 actors in 7,442 clips: audio -> video of the face"
    classes = ("anger", "disgust", "fear", "happy", "neutral", "sad")
    modalities = modalities(401)
    seconds = 4.0
    splits: ClassVar = {
        f"fold-{k}": pm.Split("+".join(f"fold-{other}" for other in FOLDS if other != k), f"fold-{k}")
        for k in FOLDS
    }
    averages: ClassVar = {"5-fold": tuple(f"fold-{k}" for k in FOLDS)}
    default_protocol = "fold-1"
    expected: ClassVar = {ALL: (1_271, 1_271, 1_271, 1_271, 1_087, 1_271)}
    licence = "Open Database License 1.0; nothing is redistributed"
    source = "https://github.com/CheyneyComputerScience/CREMA-D"
    citation = (
        "Cao, Cooper, Keutmann, Gur, Nenkova, Verma: CREMA-D: Crowd-Sourced Emotional Multimodal Actors "
        "Dataset, IEEE Transactions on Affective Computing 5(4), 2014"
    )
    access = (
        "install git-lfs, then `git clone https://github.com/CheyneyComputerScience/CREMA-D` (several GB; "
        "the folders VideoFlash and AudioWAV are needed), no registration"
    )

    def read(self, source: Path) -> Iterator[tuple[str, pm.Part]]:
        """`source`: a folder with `VideoFlash` and `AudioWAV`, or what they hold, at any depth."""
        videos = listed(source, lambda file: _name(file, ".flv"))
        wavs = listed(source, lambda file: _name(file, ".wav"))
        if not videos:
            raise pm.DataError(
                f"{source} has no video such as 1001_DFA_ANG_XX.flv" + (", only sound" if wavs else ""),
                "the folder VideoFlash is needed beside AudioWAV; copies of the sound or of frames "
                "will not do",
            )
        for path in (next(iter(files.values())) for files in (videos, wavs) if files):
            if not_fetched(path):
                raise pm.DataError(
                    f"{path} is a pointer of git-lfs, not the file",
                    "install git-lfs and run `git lfs pull` in the clone; archives of the repository hold "
                    "pointers alone",
                )
        for k in FOLDS:
            mine = sorted(name for name in videos if fold(int(name[:4])) == k)
            yield (
                f"fold-{k}",
                self.part(
                    mine,
                    [EMOTIONS.index(name.split("_")[2]) for name in mine],
                    [videos[name] for name in mine],
                    [None if name in UNUSABLE else wavs.get(name) for name in mine],
                    [name[:4] for name in mine],
                ),
            )


def _name(file: str, ending: str) -> str | None:
    name = file.removesuffix(ending)
    match = NAME.fullmatch(name) if name != file else None
    if match is None:
        return None
    if match["emotion"] not in EMOTIONS or not 1001 <= int(match["actor"]) <= 1091:
        raise pm.DataError(f"{file}: expected actors 1001 to 1091 and one of {', '.join(EMOTIONS)}")
    return name
