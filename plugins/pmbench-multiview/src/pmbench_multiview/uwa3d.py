"""UWA3D Multiview Activity II."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import ClassVar

import pmbench as pm

from .frames import MDMS, SETUP, Actions, located

COLOUR, DEPTH = "UWA3D-RGB", "WholeFrames"
VIEWS = (1, 2, 3, 4)
NAME = re.compile(r"a(?P<action>\d\d)_s(?P<person>\d\d)_v(?P<view>\d\d)_e\d\d")


def pair_splits() -> dict[str, pm.Split]:
    """The 12 of Rahmani and Mian: two views train, each of the others tests."""
    return {
        f"v{first}{second}-v{test}": pm.Split(f"view-{first}+view-{second}", f"view-{test}")
        for first, second in combinations(VIEWS, 2)
        for test in VIEWS
        if test not in (first, second)
    }


class Uwa3d(Actions):
    """30 actions of 10 people, each performed again for every one of four views of a Kinect."""

    name = "uwa3d"
    summary = "30 actions of 10 people from four sides: depth -> video, tested on an unseen side"
    classes = tuple(f"a{number:02d}" for number in range(1, 31))
    names = (r"(\d+),?\.jpg", r"(\d+)\.png")
    known = range(1_065, 1_085)
    splits: ClassVar = {"garcia": pm.Split("view-1+view-2+view-3", "view-4"), **pair_splits()}
    averages: ClassVar = {"pairs": tuple(pair_splits())}
    default_protocol = "garcia"
    recipes: ClassVar = {"mdms/uwa3d": MDMS}
    setups: ClassVar = {"mdms/uwa3d": SETUP}
    licence = "on request from the authors, research only; nothing is redistributed"
    source = "http://staffhome.ecm.uwa.edu.au/~00053650/databases.html"
    access = (
        "ask the authors (A. Mian, H. Rahmani) for colour and depth of UWA3D Multiview Activity II; their "
        "page is not always up"
    )
    citation = (
        "Rahmani, Mahmood, Huynh, Mian: Histogram of Oriented Principal Components for Cross-View Action "
        "Recognition, TPAMI 2016, arXiv:1409.6813"
    )

    def read(self, source: Path) -> Iterator[tuple[str, pm.Part]]:
        """`source`: a folder with `UWA3D-RGB` and `UWA3D-Depth/WholeFrames`, at most three deeper.

        Clips without depth lack that modality; clips without colour are left out.
        """
        colour, depth = _folder(source, COLOUR), _folder(source, DEPTH)
        items = joined(_clips(colour), _clips(depth))
        self.check_number(source, len(items))
        for view in VIEWS:
            names = [name for name in items if _told(name)["view"] == f"{view:02d}"]
            yield (
                f"view-{view}",
                self.part(
                    names,
                    [int(_told(name)["action"]) - 1 for name in names],
                    [
                        (colour / items[name][0], depth / found if (found := items[name][1]) else None)
                        for name in names
                    ],
                    [f"s{_told(name)['person']}" for name in names],
                ),
            )


def joined(colour: Iterable[str], depth: Iterable[str]) -> dict[str, tuple[str, str | None]]:
    """Name in colour -> (name in colour, name in depth or None), by action, person and view.

    The last number of a name differs between the two in some copies. Where several clips have the same
    action, person and view, names have to be equal; raises DataError if they are not.
    """
    by_key: Mapping[str, list[list[str]]] = defaultdict(lambda: [[], []])
    for side, names in enumerate((colour, depth)):
        for name in sorted(names):
            by_key[name[:11]][side].append(name)
    found: dict[str, tuple[str, str | None]] = {}
    for first, second in by_key.values():
        if len(first) <= 1 and len(second) <= 1:
            found.update({name: (name, second[0] if second else None) for name in first})
            continue
        if not set(second) <= set(first):
            raise pm.DataError(
                f"colour has {', '.join(first) or 'nothing'} and depth {', '.join(second)}: which belong "
                "together is not told by their names",
                "give the clips of each action, person and view equal names",
            )
        found.update({name: (name, name if name in second else None) for name in first})
    return dict(sorted(found.items()))


def _folder(source: Path, name: str) -> Path:
    if path := located(source, name):
        return path
    if located(source, "ActionsSkeleton"):
        raise pm.DataError(f"{source} holds skeletons; expected {COLOUR} and UWA3D-Depth/{DEPTH}")
    other = located(source, "UWA3D-Depth")
    raise pm.DataError(
        f"{source} has no folder {name}" + (f", but {other}" if other and name == DEPTH else ""),
        f"expected {COLOUR} and UWA3D-Depth/{DEPTH} (whole frames, not regions of interest) in it",
    )


def _clips(folder: Path) -> list[str]:
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    for name in names:
        match = NAME.fullmatch(name)
        if not match or not 1 <= int(match["action"]) <= 30 or int(match["view"]) not in VIEWS:
            raise pm.DataError(
                f"{folder / name}: expected a folder aNN_sNN_vNN_eNN of actions 1 to 30 and views 1 to 4",
                "names without a view are those of the first UWA3D Multiview Activity, another data set",
            )
    return names


def _told(name: str) -> Mapping[str, str]:
    match = NAME.fullmatch(name)
    return match.groupdict() if match else {}
