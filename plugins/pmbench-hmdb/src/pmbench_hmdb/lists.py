"""The official lists of HMDB51: which clips each of the three splits trains on and tests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product

import pmbench as pm

CLASSES = tuple(
    """
brush_hair cartwheel catch chew clap climb climb_stairs dive draw_sword dribble drink eat fall_floor
fencing flic_flac golf handstand hit hug jump kick kick_ball kiss laugh pick pour pullup punch push
pushup ride_bike ride_horse run shake_hands shoot_ball shoot_bow shoot_gun sit situp smile smoke
somersault stand swing_baseball sword sword_exercise talk throw turn walk wave
""".split()  # noqa: SIM905
)
"""In the order of their folders, as labels are counted; there is no official list of classes."""

FEW = ("cartwheel", "climb_stairs", "draw_sword", "wave")
"""Classes of the miniature."""

SPLITS = (1, 2, 3)
UNUSED, TRAIN, TEST = "012"
PATTERNS = tuple("".join(flags) for flags in product("012", repeat=3) if set(flags) != {UNUSED})
"""The flags that a clip may have in the three splits."""
TAIL = re.compile(r"_[fulh]_[cn]m_np\d+_(fr|ba|le|ri)_(bad|med|goo)_\d+$")
"""End of a clip's name: visible part of the body, motion of the camera, people, view, quality, number."""


@dataclass(frozen=True, order=True)
class Clip:
    """One clip. `flags` has a digit for each split: 0 not used, 1 trained on, 2 tested."""

    action: str
    file: str
    flags: str

    @property
    def name(self) -> str:
        return self.file.removesuffix(".avi")

    @property
    def group(self) -> str:
        """The recording that the clip was cut from, as far as its name tells."""
        return re.sub(rf"_{re.escape(self.action)}$", "", TAIL.sub("", self.name), flags=re.IGNORECASE)


def part_of(flags: str, short: bool) -> str:
    return f"flags-{flags}" + ("-short" if short else "")


def parts(split: int, flag: str, *, short: bool) -> str:
    """All parts whose clips have `flag` in `split`, joined; with or without the short clips."""
    mine = [flags for flags in PATTERNS if flags[split - 1] == flag]
    return "+".join(
        part_of(flags, length) for flags in mine for length in ((False, True) if short else (False,))
    )


def clips(lists: Mapping[tuple[str, int], Iterable[str]]) -> list[Clip]:
    """The clips that at least one split uses, by class and name. `lists`: (class, split) -> lines.

    Raises DataError for a line that is no file name and flag, and unless the lists of a class name the same
    clips once each.
    """
    found = []
    for action in dict.fromkeys(action for action, _ in lists):
        flags = {split: _flags(action, split, lists[action, split]) for split in SPLITS}
        for split in SPLITS:
            if odd := flags[split].keys() ^ flags[SPLITS[0]].keys():
                raise pm.DataError(
                    f"the lists of {action} for split {split} and split {SPLITS[0]} do not name the same "
                    f"clips: {min(odd)} is in one of them",
                    "get test_train_splits.rar again",
                )
        found += [
            Clip(action, file, "".join(flags[split][file] for split in SPLITS)) for file in flags[SPLITS[0]]
        ]
    return sorted(clip for clip in found if set(clip.flags) != {UNUSED})


def _flags(action: str, split: int, lines: Iterable[str]) -> dict[str, str]:
    """File name -> flag. Names hold no blanks, but almost any other character."""
    found: dict[str, str] = {}
    for line in filter(None, map(str.strip, lines)):
        file, _, flag = line.rpartition(" ")
        file = file.strip()
        if not file.endswith(".avi") or flag not in (UNUSED, TRAIN, TEST) or file in found:
            raise pm.DataError(
                f"{action}_test_split{split}.txt: {line!r}; expected the name of a clip, once, and 0, 1 or 2",
                "these are not the lists of test_train_splits.rar",
            )
        found[file] = flag
    return found
