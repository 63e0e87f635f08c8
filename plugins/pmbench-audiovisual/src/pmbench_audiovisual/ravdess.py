"""RAVDESS, its speech: emotions of 24 professional actors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import pmbench as pm

from .reading import FACE, AudioVisual, listed, modalities, sounds

NAME = re.compile(r"(?P<kind>0[1-3])-01-0(?P<emotion>[1-8])-0[12]-0[12]-0[12]-(?P<actor>\d\d)")
BOTH, VIDEO, SOUND = "01", "02", "03"
"""First number of a name: video with sound, video alone, sound alone. The second is 01 for speech."""
FOLDS: Mapping[int, tuple[int, ...]] = {
    1: (2, 5, 14, 15, 16),
    2: (3, 6, 7, 13, 18),
    3: (10, 11, 12, 19, 20),
    4: (8, 17, 21, 23, 24),
    5: (1, 4, 9, 22),
}
"""Fold -> its actors, as Luna-Jimenez et al. divide them (Applied Sciences 12(1), 2021, 327)."""
ALL = "+".join(f"fold-{k}" for k in FOLDS)
SIZES = (  # bytes of the archives of actors 1 to 24
    552_968_353, 570_673_024, 567_824_665, 546_560_009, 562_966_425, 568_517_859, 565_652_404, 562_573_079,
    523_489_249, 565_580_163, 518_634_370, 557_928_718, 501_877_549, 552_484_059, 525_205_576, 562_416_513,
    551_688_845, 565_655_520, 581_121_687, 561_349_264, 590_292_896, 560_907_466, 545_177_865, 595_799_165,
)  # fmt: skip


class Ravdess(AudioVisual):
    """1,440 clips of 2 sentences in 8 emotions; the sound is privileged."""

    name = "ravdess"
    summary = "8 emotions spoken by 24 actors in 1,440 clips: audio -> video of the face"
    classes = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
    modalities = modalities(401)
    seconds = 4.0
    stored, crop = (128, 128), FACE
    splits: ClassVar = {
        f"fold-{k}": pm.Split("+".join(f"fold-{other}" for other in FOLDS if other != k), f"fold-{k}")
        for k in FOLDS
    }
    averages: ClassVar = {"5-fold": tuple(f"fold-{k}" for k in FOLDS)}
    default_protocol = "fold-1"
    expected: ClassVar = {
        **{f"fold-{k}": 60 * len(actors) for k, actors in FOLDS.items()},
        ALL: (96, 192, 192, 192, 192, 192, 192, 192),
    }
    licence = "CC BY-NC-SA 4.0; nothing is redistributed"
    source = "https://zenodo.org/records/1188976"
    citation = (
        "Livingstone, Russo: The Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS), "
        "PLoS ONE 13(5), 2018, e0196391"
    )
    access = (
        "get Video_Speech_Actor_01.zip to Video_Speech_Actor_24.zip (13.4 GB; not the songs, and not the "
        "sound alone) into one folder, no registration"
    )
    downloads = tuple(
        pm.Download(
            f"https://zenodo.org/records/1188976/files/Video_Speech_Actor_{actor:02d}.zip?download=1",
            f"Video_Speech_Actor_{actor:02d}.zip",
            size,
        )
        for actor, size in enumerate(SIZES, 1)
    )

    def read(self, source: Path) -> Iterator[tuple[str, pm.Part]]:
        """`source`: a folder with the folders Actor_01 to Actor_24, at any depth.

        The sound is that of `Audio_Speech_Actors_01-24.zip` where its files are there, else of the video.
        """
        files = listed(source, lambda file: file if NAME.match(file) else None)
        videos = {
            name: path for name, path in files.items() if name.startswith(BOTH) and name.endswith(".mp4")
        }
        if not videos:
            kinds = sorted({name[:2] for name in files})
            only = {VIDEO: "video without sound", SOUND: "sound alone"}
            text = ", only " + " and ".join(only[k] for k in kinds if k in only) if kinds else ""
            raise pm.DataError(
                f"{source} has no video of speech such as 01-01-06-01-02-01-12.mp4{text}",
                "Video_Speech_Actor_01.zip to _24.zip are needed; songs (second number 02) are others",
            )
        for k, actors in FOLDS.items():
            mine = [name for name in sorted(videos) if int(name.split(".")[0][-2:]) in actors]
            yield (
                f"fold-{k}",
                self.part(
                    [name.removesuffix(".mp4") for name in mine],
                    [int(name.split("-")[2]) - 1 for name in mine],
                    [videos[name] for name in mine],
                    [_sound(videos[name], files) for name in mine],
                    [f"actor-{name.split('.')[0][-2:]}" for name in mine],
                ),
            )


def _sound(video: Path, files: Mapping[str, Path]) -> Path | None:
    wav = files.get(f"{SOUND}{video.stem[2:]}.wav")
    return wav if wav is not None else video if sounds(video) else None
