"""CASIA-SURF CeFA: three ethnicities, cloth prints and screens, and masks in the test."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import pmbench as pm

from .faces import MMH, SETUP, Faces, face, lines_of, located

RACES: Mapping[int, str] = {1: "AF", 2: "CA", 3: "EA"}
SUBJECTS: Mapping[str, range] = {"train": range(200), "dev": range(200, 300), "test": range(300, 500)}
CLIPS: Mapping[tuple[int, int, int], str] = {
    (1, 1, 1): "live", (3, 1, 2): "cloth", (3, 2, 2): "cloth", (3, 1, 4): "screen",
}  # fmt: skip
"""(device, session, kind) of the clips of the protocols; others, such as those of phones, are not used."""
MASKS: Mapping[int, str] = {1: "3D-Mask", 2: "Silicone-Mask"}
MASK_DEVICE, MASK_LIGHTS = 2, (2, 3, 4)
NAME = re.compile(r"\d(_\d+){4}|\d(_\d+){6}")
MASK = "mask"


@dataclass(frozen=True)
class Clip:
    """A clip by its name; `kind` is live, cloth, screen or a kind of mask, `part` as in the splits."""

    name: str
    group: str
    kind: str
    part: str


def clip(name: str) -> Clip | None:
    """`R_ID_A_S_P` (race, person, device, session, kind) or a mask's `M_ID_dress_glasses_A_S_light`.

    None for clips that no protocol uses.
    """
    if not NAME.fullmatch(name):
        return None
    first, subject, *rest = map(int, name.split("_"))
    if len(rest) == 3:
        race, kind = RACES.get(first, ""), CLIPS.get((rest[0], rest[1], rest[2]), "")
        subset = next((s for s, people in SUBJECTS.items() if subject in people), "")
        if not (race and kind and subset):
            return None
        return Clip(name, f"{race}-{subject:03d}", kind, f"{race.lower()}-{subset}-{kind}")
    kind, (_, _, device, _, light) = MASKS.get(first, ""), rest
    if not kind or device != MASK_DEVICE or light not in MASK_LIGHTS:
        return None
    return Clip(name, f"{kind}-{subject:03d}", kind, MASK)


def joined(races: Iterable[str], subset: str, attacks: Iterable[str]) -> str:
    """The atoms of live clips and `attacks` of some races, as one part."""
    return "+".join(f"{race}-{subset}-{kind}" for race in races for kind in ("live", *attacks))


def split(
    seen: Sequence[str], unseen: Sequence[str], learnt: Sequence[str], new: Sequence[str], *masks: str
) -> pm.Split:
    """Trains on races `seen` with attacks `learnt`; tests on `unseen` with attacks `new` and `masks`."""
    return pm.Split(
        joined(seen, "train", learnt),
        "+".join([joined(unseen, "test", new), *masks]),
        joined(seen, "dev", learnt),
    )


ALL, BOTH = ("af", "ca", "ea"), ("cloth", "screen")
NUMBERED: Mapping[int, str] = {1: "af", 3: "ca", 5: "ea"}
OTHERS: Mapping[str, tuple[str, str]] = {"af": ("ca", "ea"), "ca": ("af", "ea"), "ea": ("af", "ca")}

SPLITS: Mapping[str, pm.Split] = {
    **{f"4.{n}": split((r,), OTHERS[r], ("screen",), ("cloth",), MASK) for n, r in NUMBERED.items()},
    "mmh-4.5": split(("ea",), ("af",), ("screen",), ("cloth",)),
    **{f"1.{n}": split((r,), OTHERS[r], BOTH, BOTH, MASK) for n, r in NUMBERED.items()},
    "2.1": split(ALL, ALL, ("cloth",), ("screen",), MASK),
    "2.2": split(ALL, ALL, ("screen",), ("cloth",), MASK),
}  # fmt: skip

IMAGES: Mapping[str, tuple[int, int, int]] = {
    "1.1": (71_915, 36_298, 191_161), "1.3": (73_304, 37_855, 185_833), "1.5": (71_704, 36_193, 188_100),
    "2.1": (166_255, 83_499, 151_807), "2.2": (109_632, 56_070, 210_252),
    "4.1": (36_513, 18_468, 155_967), "4.3": (37_167, 19_093, 152_717), "4.5": (35_952, 18_509, 153_930),
}  # fmt: skip
"""Published numbers of images to train, validate and test on."""


def published_counts() -> dict[str, int]:
    """Joined parts -> number of images."""
    return {
        part: count
        for name, counts in IMAGES.items()
        for part, count in zip(
            (SPLITS[name].train, SPLITS[name].validation, SPLITS[name].test), counts, strict=True
        )
        if part
    }


class CasiaCefa(Faces):
    """Images of 1,500 people of three ethnicities, and of 107 masks; the clips of nine protocols."""

    name = "casia-cefa"
    summary = "live faces, prints, screens and masks, three ethnicities: depth and infrared -> colour"
    splits: ClassVar = SPLITS
    averages: ClassVar = {"1.x": ("1.1", "1.3", "1.5"), "2.x": ("2.1", "2.2"), "4.x": ("4.1", "4.3", "4.5")}
    default_protocol = "4.1"
    expected: ClassVar = published_counts()
    recipes: ClassVar = {"mmh/cefa": MMH}
    setups: ClassVar = {"mmh/cefa": SETUP}
    source = (
        "https://sites.google.com/view/face-anti-spoofing-challenge/dataset-download/casia-surf-cefacvpr2020"
    )
    access = (
        "ask for access, which academic staff sign for, get CASIA_CeFA.7z (about 770 GB) and unpack it "
        "(7z x CASIA_CeFA.7z)"
    )
    citation = (
        "Liu, Tan, Wan, Escalera, Guo, Li: CASIA-SURF CeFA: A Benchmark for Multi-modal Cross-ethnicity Face "
        "Anti-spoofing, WACV 2021, arXiv:2003.05136"
    )

    def read(self, source: Path) -> Iterator[tuple[str, pm.Part]]:
        """`source`: a folder with `Ethnicity` and `Mask`, or `CeFA-Race` of the older release.

        An image without a file of the same name in `depth` or `ir` lacks that modality.
        """
        import numpy as np

        clips = clips_in(source)
        check_lists(source, clips)
        members: dict[str, list[tuple[Clip, Path]]] = {part: [] for part in sorted(self.part_names())}
        for c, folder in sorted(clips.items(), key=lambda item: item[0].name):
            if c.part in members:
                members[c.part].append((c, folder))
        for part, inside in members.items():
            rows = [(c, folder, image) for c, folder in inside for image in images(folder)]
            load = partial(face, size=self.stored)
            items = {
                "rgb": [folder / image.colour for _, folder, image in rows],
                "depth": [
                    folder / "depth" / image.name if image.depth else None for _, folder, image in rows
                ],
                "ir": [folder / "ir" / image.name if image.ir else None for _, folder, image in rows],
            }
            yield (
                part,
                pm.Part(
                    [f"{c.name}/{Path(image.name).stem}" for c, _, image in rows],
                    np.array([c.kind == "live" for c, _, _ in rows], np.int64),
                    {name: pm.Files(paths, load) for name, paths in items.items()},
                    [c.group for c, _, _ in rows],
                    ["" if c.kind == "live" else c.kind for c, _, _ in rows],
                ),
            )


@dataclass(frozen=True)
class Frame:
    """An image of a clip: its file name, path in colour, and whether depth and infrared are there."""

    name: str
    colour: str
    depth: bool
    ir: bool


def images(folder: Path) -> list[Frame]:
    """The images of a clip in order of their numbers. Colour lies in `color`, or in `profile`."""
    colour = "color" if (folder / "color").is_dir() else "profile"
    there = {
        name: set(os.listdir(folder / name)) if (folder / name).is_dir() else set()
        for name in (colour, "depth", "ir")
    }
    names = sorted(
        (name for name in there[colour] if re.fullmatch(r"\d+\.jpg", name)), key=lambda n: int(n[:-4])
    )
    if not names:
        raise pm.DataError(f"{folder} has no image in color or profile", "the archive was not unpacked whole")
    return [Frame(n, f"{colour}/{n}", n in there["depth"], n in there["ir"]) for n in names]


def clips_in(source: Path) -> dict[Clip, Path]:
    """The clips of the protocols below `source`."""
    people = located(source, "Ethnicity") or located(source, "CeFA-Race")
    if people is None:
        archive = located(source, "*.7z")
        raise pm.DataError(
            f"{archive} is not unpacked" if archive else f"{source} has no folder Ethnicity or CeFA-Race",
            f"7z x {archive.name}; .7z archives are not unpacked here"
            if archive
            else "give the folder that holds Ethnicity and Mask; the release of the challenge of CVPR 2020, "
            "with anonymous clips in train, dev and test, is another and cannot be used",
        )
    folders = [people / race for race in RACES.values()]
    if missing := [folder.name for folder in folders if not folder.is_dir()]:
        raise pm.DataError(f"{people} has no folder {', '.join(missing)}", "the download is incomplete")
    masks = located(source, "Mask")
    folders += [masks / kind for kind in MASKS.values()] if masks else []
    clips: dict[Clip, Path] = {}
    for folder in folders:
        for path in sorted(folder.glob("*/*")):
            c = clip(path.name)
            if c is None:
                continue
            if not c.group.startswith(folder.name):
                raise pm.DataError(f"{path} lies in {folder.name}, but its name is one of {c.group}")
            if c in clips:
                raise pm.DataError(f"{path} and {clips[c]} have the same name")
            clips[c] = path
    if not clips:
        raise pm.DataError(
            f"{people} has no clip named R_ID_A_S_P in a folder of a person, such as AF/AF-120/1_120_1_1_1",
            "give the folder as it was unpacked",
        )
    return clips


def check_lists(source: Path, clips: Iterable[Clip]) -> None:
    """Compares official lists of clips, if they are there, with what the names of the clips say.

    Lines are `CASIA_CeFA/.../<clip>/color L` with L = 0 for live. Raises DataError for labels of the other
    sign and for clips that are listed but not there, or the other way round.
    """
    by_part: dict[str, set[str]] = {}
    for c in clips:
        by_part.setdefault(c.part, set()).add(c.name)
    for name in IMAGES:
        parts = (SPLITS[name].train, SPLITS[name].validation, SPLITS[name].test)
        for subset, part in zip(("train", "dev", "test"), parts, strict=True):
            path = located(source, f"CASIA_CeFA@p{name}_video_{subset}.txt")
            if path is None or part is None:
                continue
            listed = dict(_listed(path))
            here = set().union(*(by_part.get(p, set()) for p in part.split("+")))
            if absent := sorted(listed.keys() - here):
                raise pm.DataError(
                    f"{len(absent)} of {len(listed)} clips of {path.name} are missing, such as {absent[0]}",
                    "the download is incomplete",
                )
            if more := sorted(here - listed.keys()):
                raise pm.DataError(f"{len(more)} clips are not in {path.name}, such as {more[0]}")
            wrong = [n for n, label in listed.items() if (label == "0") != _live(n)]
            if wrong:
                raise pm.DataError(
                    f"{path.name}: {len(wrong)} of {len(listed)} labels say another thing than the name of "
                    f"the clip, such as that of {wrong[0]}; expected 0 for live",
                    "labels of the other sign, 1 for live, are those of another release",
                )


def _listed(path: Path) -> Iterator[tuple[str, str]]:
    for line in lines_of(path):
        file, _, label = line.rpartition(" ")
        name = file.removesuffix("/color").rpartition("/")[2]
        if clip(name) is None or label not in ("0", "1"):
            raise pm.DataError(
                f"{path.name}: {line!r}; expected the folder of a clip of the protocols and 0 or 1"
            )
        yield name, label


def _live(name: str) -> bool:
    c = clip(name)
    return c is not None and c.kind == "live"
