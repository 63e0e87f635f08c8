"""Northwestern-UCLA Multiview Action 3D."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import pmbench as pm

from .frames import MDMS, SETUP, Actions, located

ACTIONS: Mapping[int, str] = {
    1: "pick_up_with_one_hand", 2: "pick_up_with_two_hands", 3: "drop_trash", 4: "walk_around", 5: "sit_down",
    6: "stand_up", 8: "donning", 9: "doffing", 11: "throw", 12: "carry",
}  # fmt: skip
"""By the number in the names of clips; 7 and 10 are not used."""
VIEWS = (1, 2, 3)
NAME = re.compile(r"a(\d\d)_s(\d\d)_e(\d\d)")


class NwUcla(Actions):
    """10 actions of 10 people, filmed by three Kinects from three sides."""

    name = "nw-ucla"
    summary = "10 actions of 10 people from three sides: depth -> video, tested on an unseen side"
    classes = tuple(ACTIONS.values())
    names = (r"frame_(\d+)_tc_\d+_rgb\.jpg", r"frame_(\d+)_tc_\d+_depth\.png")
    known = range(1_400, 1_520)
    splits: ClassVar = {
        "cross-view": pm.Split("view-1+view-2", "view-3"),
        "cross-view-2": pm.Split("view-1+view-3", "view-2"),
        "cross-view-1": pm.Split("view-2+view-3", "view-1"),
    }
    default_protocol = "cross-view"
    recipes: ClassVar = {"mdms/nw-ucla": MDMS}
    setups: ClassVar = {"mdms/nw-ucla": SETUP}
    licence = "free for research, with citation; the page states no licence; nothing is redistributed"
    source = "https://wangjiangb.github.io/my_data.html"
    access = (
        "get all parts of the RGB-D archive (colour, depth and skeletons; not the archive of videos alone) "
        "and unpack them into one folder"
    )
    citation = (
        "Wang, Nie, Xia, Wu, Zhu: Cross-view Action Modeling, Learning and Recognition, CVPR 2014, "
        "arXiv:1405.2941"
    )

    def read(self, source: Path) -> Iterator[tuple[str, pm.Part]]:
        """`source`: a folder that holds `view_1`, `view_2` and `view_3`, at most three deeper."""
        folders = {view: _view(source, view) for view in VIEWS}
        clips = {view: _clips(folder) for view, folder in folders.items()}
        self.check_number(source, sum(map(len, clips.values())))
        for view, members in clips.items():
            matches = [match for match in map(NAME.fullmatch, members) if match]
            yield (
                f"view-{view}",
                self.part(
                    [f"v{view:02d}_{name}" for name in members],
                    [list(ACTIONS).index(int(match[1])) for match in matches],
                    [(path, path if _has_depth(path) else None) for path in members.values()],
                    [f"s{match[2]}" for match in matches],
                ),
            )


def _view(source: Path, view: int) -> Path:
    if path := located(source, f"view_{view}"):
        return path
    if located(source, "*.avi"):
        raise pm.DataError(
            f"{source} has videos and no folder view_{view}: it is the archive of videos, without depth",
            "get all parts of the RGB-D archive",
        )
    there = [f"view_{other}" for other in VIEWS if located(source, f"view_{other}")]
    raise pm.DataError(
        f"{source} has no folder view_{view}, only {', '.join(there) or 'others'}",
        "get all parts of the RGB-D archive and give the folder that holds view_1, view_2 and view_3",
    )


def _clips(folder: Path) -> dict[str, Path]:
    """Name -> folder, in order of names."""
    found = {
        path.name: path for path in sorted(folder.iterdir()) if NAME.fullmatch(path.name) and path.is_dir()
    }
    for name in found:
        if int(name[1:3]) not in ACTIONS:
            raise pm.DataError(
                f"{folder / name}: {int(name[1:3])} is no action; expected {', '.join(map(str, ACTIONS))}"
            )
    return found


def _has_depth(folder: Path) -> bool:
    return any(name.endswith("_depth.png") for name in os.listdir(folder))
