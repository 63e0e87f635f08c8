"""CASIA-SURF, by either family of official lists, which give labels of opposite sign."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import pmbench as pm

from .faces import MMH, SETUP, Faces, face, lines_of, located

FOLDERS: Mapping[str, str] = {"train": "Training", "dev": "Val", "test": "Testing"}
"""Folder of each part."""

NAMED = re.compile(
    r"(Training|Val|Testing)/(?P<kind>real|fake)_part/(?P<subject>[^/]+)/(?P<clip>[^/]+)\.rssdk/"
    r"(?P<modality>color|depth|ir)/(?P<frame>\d+)\.jpg"
)
"""Files that tell person, live or attack, and clip; that of an attack starts with its number, 01 to 06."""

NUMBERED = re.compile(r"(Val|Testing)/\d+/(?P<frame>\d+)-(?P<modality>color|depth|ir)\.jpg")
"""Anonymous files of the challenge."""

SIGN = "{list}: its labels have the other sign, {found}; expected 0 for {zero}"


@dataclass(frozen=True)
class Image:
    """An image in three modalities: paths of `rgb`, `depth`, `ir` from the folder that holds `Training`.

    `subject` and `attack` ("" for live ones) are empty where the official files do not tell.
    """

    paths: tuple[str, str, str]
    live: bool
    subject: str = ""
    attack: str = ""

    @property
    def name(self) -> str:
        return self.paths[0].removesuffix(".jpg").replace("/color/", "/")


def fas_images(lines: Iterable[str], name: str, folder: str) -> list[Image]:
    """Lines `CASIA_SURF/Data/<folder>/.../color/NNNN.jpg L`, with L = 0 for live and 1 for attacks."""
    found, wrong = [], 0
    for line in lines:
        path, _, label = line.rpartition(" ")
        match = NAMED.search(path)
        if len(path.split(" ")) > 1:
            raise pm.DataError(
                f"{name}: {line!r} names three files; expected one of color and a label",
                "this is a list of the challenge: prepare casia-surf-challenge",
            )
        if not match or match["modality"] != "color" or label not in ("0", "1") or match[1] != folder:
            raise pm.DataError(f"{name}: {line!r}; expected a color image in {folder} and 0 or 1")
        live = match["kind"] == "real"
        wrong += live != (label == "0")
        paths = [match[0].replace("/color/", f"/{modality}/") for modality in ("color", "depth", "ir")]
        attack = "" if live else match["clip"]
        found.append(Image((paths[0], paths[1], paths[2]), live, match["subject"], attack))
    _check_sign(name, wrong, len(found), "1 is live in it", "live images")
    return found


def challenge_images(lines: Iterable[str], name: str, folder: str) -> list[Image]:
    """Lines `<color> <depth> <ir> L` of files in `folder`, with L = 1 for live and 0 for attacks.

    Where the names do not tell, attacks have to be the majority, as they are in every official list.
    """
    found, wrong = [], 0
    for line in lines:
        *paths, label = line.split(" ")
        if len(paths) == 2:
            raise pm.DataError(
                f"{name}: {line!r} has no label; expected color, depth, ir and a label",
                f"it is the public list; get {name.replace('public', 'private')}, published after the "
                "challenge",
            )
        if len(paths) == 1:
            raise pm.DataError(
                f"{name}: {line!r} names one file; expected color, depth, ir and a label",
                "this is a list of CASIA-FAS-Dataset: prepare casia-surf",
            )
        if len(paths) != 3:
            raise pm.DataError(f"{name}: {line!r}; expected color, depth, ir and a label")
        matches = [NAMED.fullmatch(path) or NUMBERED.fullmatch(path) for path in paths]
        seen = tuple(match["modality"] if match else None for match in matches)
        if seen != ("color", "depth", "ir") or label not in ("0", "1"):
            raise pm.DataError(f"{name}: {line!r}; expected files of color, depth and ir in this order")
        first = matches[0]
        if first is None or any(match is None or match[1] != folder for match in matches):
            raise pm.DataError(f"{name}: {line!r}; expected files in {folder}")
        told = first.groupdict()
        wrong += "kind" in told and (told["kind"] == "real") != (label == "1")
        found.append(Image((paths[0], paths[1], paths[2]), label == "1", told.get("subject", "")))
    told_by_names = bool(found) and bool(found[0].subject)
    if not told_by_names and 2 * sum(image.live for image in found) > len(found):
        wrong = len(found)
    _check_sign(name, wrong, len(found), "1 is an attack in it", "attacks")
    return found


def _check_sign(name: str, wrong: int, count: int, found: str, zero: str) -> None:
    if not count:
        raise pm.DataError(f"{name} is empty", "get it again")
    if wrong == count:
        raise pm.DataError(
            SIGN.format(list=name, found=found, zero=zero),
            "it belongs to the other family of lists: casia-surf and casia-surf-challenge read one each",
        )
    if wrong:
        raise pm.DataError(f"{name}: {wrong} of {count} labels contradict the folder real_part or fake_part")


def check_disjoint(parts: Mapping[str, Sequence[Image]]) -> None:
    """Raises DataError if an image is listed twice, or a person is in two parts."""
    where: dict[str, str] = {}
    people: dict[str, str] = {}
    for part, images in parts.items():
        for image in images:
            if image.name in where:
                raise pm.DataError(f"{image.name} is listed twice, in {where[image.name]} and {part}")
            where[image.name] = part
            if image.subject and people.setdefault(image.subject, part) != part:
                raise pm.DataError(f"{image.subject} is in {people[image.subject]} and in {part}")


class Surf(Faces):
    """Base of both families: three parts by person. `lists` is the file of each part, `images` its parser."""

    lists: ClassVar[Mapping[str, str]]
    images: ClassVar[Callable[[Iterable[str], str, str], list[Image]]]
    splits: ClassVar = {"intra-testing": pm.Split("train", "test", "dev")}
    default_protocol = "intra-testing"
    expected: ClassVar = {"train": (20_324, 8_942), "dev": (6_614, 2_994), "test": 57_710}
    recipes: ClassVar = {"mmh/casia-surf": MMH}
    setups: ClassVar = {"mmh/casia-surf": SETUP}
    citation = (
        "Zhang, Liu, Wan, Liang, Guo, Escalera, Escalante, Li: CASIA-SURF: A Large-scale Multi-modal "
        "Benchmark for Face Anti-spoofing, TBIOM 2020, arXiv:1908.10654"
    )
    source = "https://sites.google.com/view/face-anti-spoofing-challenge/dataset-download/casia-surfcvpr2019"

    def read(self, source: Path) -> Iterator[tuple[str, pm.Part]]:
        """`source`: a folder that holds `Training`, `Val`, `Testing` and the lists, at most three deeper."""
        import numpy as np

        roots = {part: _root(source, folder) for part, folder in FOLDERS.items()}
        parse = type(self).images
        parts = {
            part: parse(lines_of(_list(source, name)), name, FOLDERS[part])
            for part, name in self.lists.items()
        }
        check_disjoint(parts)
        for part, images in parts.items():
            paths = [[roots[part] / path for path in image.paths] for image in images]
            _check_there(roots[part] / FOLDERS[part], [path for row in paths for path in row])
            load = partial(face, size=self.stored)
            known = all(image.subject for image in images)
            yield (
                part,
                pm.Part(
                    [image.name for image in images],
                    np.array([image.live for image in images], np.int64),
                    {
                        m.name: pm.Files([row[k] for row in paths], load)
                        for k, m in enumerate(self.modalities)
                    },
                    [image.subject for image in images] if known else None,
                    [image.attack for image in images] if "acer_worst" in self.metrics else None,
                ),
            )


class CasiaSurf(Surf):
    """As the lists of CASIA-FAS-Dataset name it: persons and kinds of attack are known."""

    name = "casia-surf"
    summary = "live faces and paper attacks, 1,000 people: depth and infrared -> colour"
    lists: ClassVar = {part: f"CASIA_SURF@p1_image_{part}.txt" for part in FOLDERS}
    images = staticmethod(fas_images)
    access = (
        "ask for access, which academic staff sign for, get CASIA_SURF.7z, unpack it (7z x CASIA_SURF.7z), "
        "and put the lists of https://github.com/liuajian/CASIA-FAS-Dataset (CASIA_SURF/protocol) beside it"
    )


class CasiaSurfChallenge(Surf):
    """As the lists of the challenge of CVPR 2019 name it, on which MMH reports: Val, Testing anonymous."""

    name = "casia-surf-challenge"
    summary = "the same images by the lists of the challenge, anonymous in validation and test"
    lists: ClassVar = {
        "train": "train_list.txt", "dev": "val_private_list.txt", "test": "test_private_list.txt",
    }  # fmt: skip
    images = staticmethod(challenge_images)
    metrics = tuple(m for m in Faces.metrics if m != "acer_worst")
    access = (
        "ask for access, which academic staff sign for, and get phase1 (Training, Val, train_list.txt, "
        "val_private_list.txt) and phase2 (Testing, test_private_list.txt) of the challenge into one folder"
    )


def _root(source: Path, folder: str) -> Path:
    """The folder that holds `folder`."""
    if path := located(source, folder):
        return path.parent
    if archive := located(source, "*.7z"):
        raise pm.DataError(
            f"{archive} is not unpacked", f"7z x {archive.name}; .7z archives are not unpacked here"
        )
    if any((source / name).is_dir() for name in ("real_part", "fake_part")):
        raise pm.DataError(
            f"{source} is one of the folders Training, Val and Testing",
            "give the folder that holds all three",
        )
    there = [name for name in FOLDERS.values() if located(source, name)]
    hint = "the download is incomplete" if there else "give the folder that holds all three"
    if there and folder == "Testing":
        hint = "Testing comes with phase2 of the challenge"
    raise pm.DataError(
        f"{source} has no folder {folder}, only {', '.join(there) or 'others'}",
        f"expected Training, Val and Testing; {hint}",
    )


def _list(source: Path, name: str) -> Path:
    if path := located(source, name):
        return path
    public = located(source, name.replace("private", "public")) if "private" in name else None
    if public:
        raise pm.DataError(
            f"{source} has {public.name}, which has no labels; expected {name}",
            f"{name} was published after the challenge; without it there is no test",
        )
    other = located(source, CasiaSurf.lists["train"] if name.endswith("_list.txt") else "train_list.txt")
    raise pm.DataError(
        f"{source} has no list {name}",
        f"{other.name} is of the other family: casia-surf and casia-surf-challenge read one each"
        if other
        else "the lists come with the data or from https://github.com/liuajian/CASIA-FAS-Dataset",
    )


def _check_there(folder: Path, paths: Sequence[Path]) -> None:
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise pm.DataError(
            f"{folder}: {len(missing)} of {len(paths)} images are missing, for example {missing[0]}",
            "the archive was not unpacked whole, or the lists are of another release",
        )
