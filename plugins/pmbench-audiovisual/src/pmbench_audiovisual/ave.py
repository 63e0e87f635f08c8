"""AVE: events of 28 kinds that are seen and heard."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pmbench as pm

from .reading import AudioVisual, listed, modalities, sounds

LISTS: Mapping[str, str] = {"train": "trainSet.txt", "validation": "valSet.txt", "test": "testSet.txt"}
HEAD = "Category&VideoID&Quality&StartTime&EndTime"
FEW = ("Bark", "Church bell", "Frying (food)", "Violin, fiddle")
"""Categories of the miniature."""

ID = re.compile(r"[\w-]{11}", re.ASCII)


@dataclass(frozen=True)
class Event:
    """One line of a list: the kind of an event, the video, and the seconds in which it is seen and heard.

    `again` counts equal lines before it.
    """

    category: str
    video: str
    start: int
    end: int
    again: int = 0

    @property
    def name(self) -> str:
        return f"{self.video}/{self.category}/{self.start}-{self.end}" + (
            f"/{self.again}" if self.again else ""
        )


def events(lines: Iterable[str], classes: Collection[str], where: str = "") -> list[Event]:
    """The events of the lines of a list, one for each; raises DataError for another line."""
    found: list[Event] = []
    seen: Counter[str] = Counter()
    for line in filter(None, map(str.strip, lines)):
        if line == HEAD:
            continue
        fields = line.split("&")
        good = len(fields) == 5 and fields[0] in classes and ID.fullmatch(fields[1])
        if not good or not (fields[3].isdecimal() and fields[4].isdecimal()):
            raise pm.DataError(
                f"{where}: {line!r}; expected {HEAD}, with one of {len(classes)} categories and an id of 11 "
                "characters",
                "the lists of AVE_Dataset.zip are needed, as they are",
            )
        found.append(Event(fields[0], fields[1], int(fields[3]), int(fields[4]), again=seen[line]))
        seen[line] += 1
    return found


class Ave(AudioVisual):
    """4,143 events in videos of 10 seconds; the sound is privileged."""

    name = "ave"
    summary = "28 kinds of events in 4,143 videos of 10 s: audio -> video"
    classes = (
        "Accordion", "Acoustic guitar", "Baby cry, infant cry", "Banjo", "Bark", "Bus", "Cat", "Chainsaw",
        "Church bell", "Clock", "Female speech, woman speaking", "Fixed-wing aircraft, airplane", "Flute",
        "Frying (food)", "Goat", "Helicopter", "Horse", "Male speech, man speaking", "Mandolin", "Motorcycle",
        "Race car, auto racing", "Rodents, rats, mice", "Shofar", "Toilet flush", "Train horn", "Truck",
        "Ukulele", "Violin, fiddle",
    )  # fmt: skip
    modalities = modalities(1001)
    seconds = 10.0
    splits: ClassVar = {"standard": pm.Split("train", "test", validation="validation")}
    default_protocol = "standard"
    expected: ClassVar = {"train": 3_339, "validation": 402, "test": 402}
    licence = "videos from YouTube, a part of AudioSet, for research; nothing is redistributed"
    source = "https://github.com/YapengTian/AVE-ECCV18"
    citation = (
        "Tian, Shi, Li, Duan, Xu: Audio-Visual Event Localization in Unconstrained Videos, ECCV 2018, "
        "arXiv:1803.08842"
    )
    access = (
        "get AVE_Dataset.zip (several GB) by the link in the README, a file on Google Drive, no registration"
    )
    downloads = (
        pm.Download(
            "https://drive.usercontent.google.com/download?id=1FjKwe79e0u96vdjIVwfRQ1V6SoDHe7kK&export=download"
            "&confirm=t",
            "AVE_Dataset.zip",
        ),
    )

    def read(self, source: Path) -> Iterator[tuple[str, pm.Part]]:
        """`source`: a folder with `AVE`, `trainSet.txt`, `valSet.txt` and `testSet.txt`, at any depth.

        A line is a sample; samples of one video are a group.
        """
        files = listed(source, lambda file: file if file in LISTS.values() else None)
        if absent := [name for name in LISTS.values() if name not in files]:
            raise pm.DataError(
                f"{source} has no {absent[0]}",
                "AVE_Dataset.zip holds it beside the folder AVE; features or Annotations.txt will not do",
            )
        videos = listed(source, _id)
        for part, name in LISTS.items():
            try:
                lines = files[name].read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise pm.DataError(f"{files[name]} cannot be read: {error}", "get it again") from error
            found = events(lines, self.classes, name)
            if missing := [event.video for event in found if event.video not in videos]:
                raise pm.DataError(
                    f"{source}: {len(missing)} of {len(found)} videos of {name} are missing, for example "
                    f"{missing[0]}.mp4",
                    "AVE_Dataset.zip was not unpacked whole",
                )
            paths = [videos[event.video] for event in found]
            yield (
                part,
                self.part(
                    [event.name for event in found],
                    [self.classes.index(event.category) for event in found],
                    paths,
                    [path if sounds(path) else None for path in paths],
                    [event.video for event in found],
                ),
            )


def _id(file: str) -> str | None:
    name = file.removesuffix(".mp4")
    return name if name != file and ID.fullmatch(name) else None
