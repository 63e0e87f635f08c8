"""What the official lists of UCF101 say: a pure function of their lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pmbench as pm

SPLITS = (1, 2, 3)
REST = "rest"
NAME = re.compile(r"v_(?P<action>\w+)_g(?P<group>\d\d)_c\d\d")


@dataclass(frozen=True)
class Clip:
    """One clip. `file` as in the lists, `<Class>/<name>.avi`; `part` is the fold that tests it, or "rest"."""

    file: str
    action: str
    group: int
    part: str

    @property
    def name(self) -> str:
        return self.file.partition("/")[2].removesuffix(".avi")


def fold(split: int) -> str:
    """The part that `split` tests on."""
    return f"fold-{split}"


def numbered(lines: Iterable[str]) -> dict[int, str]:
    """classInd.txt: number -> class, as it stands there."""
    found = {}
    for line in _filled(lines):
        number, _, name = line.partition(" ")
        if not number.isdecimal() or not name or int(number) in found:
            raise pm.DataError(f"classInd.txt: {line!r}; expected a number and the name of a class")
        found[int(number)] = name
    return found


def clips(
    numbers: Mapping[int, str], train: Mapping[int, Sequence[str]], test: Mapping[int, Sequence[str]]
) -> list[Clip]:
    """All clips in order of their names. `train` and `test` map split -> the lines of its list.

    Raises DataError unless every split lists every clip once, labels agree with folders, no clip is tested by
    two splits, and no group of a class lies on both sides of a split.
    """
    classes = set(numbers.values())
    everywhere: set[str] = set()
    tested: dict[str, int] = {}
    for split in SPLITS:
        learnt = [_labelled(line, numbers, split) for line in _filled(train[split])]
        held_out = list(_filled(test[split]))
        listed = set(learnt) | set(held_out)
        if len(listed) < len(learnt) + len(held_out):
            raise pm.DataError(f"split {split} lists a clip twice")
        everywhere = everywhere or listed
        if listed != everywhere:
            odd = min(listed ^ everywhere)
            raise pm.DataError(
                f"split {split} and split 1 do not list the same clips: {odd} is in one of them"
            )
        for file in held_out:
            if file in tested:
                raise pm.DataError(f"{file} is tested by split {tested[file]} and by split {split}")
            tested[file] = split
    found = [_clip(file, classes, tested.get(file)) for file in sorted(everywhere)]
    _whole_groups(found)
    return found


def _clip(file: str, classes: set[str], split: int | None) -> Clip:
    action, _, name = file.partition("/")
    match = NAME.fullmatch(name.removesuffix(".avi"))
    if action not in classes or not match or match["action"].lower() != action.lower():
        raise pm.DataError(f"{file}: expected <Class>/v_<Class>_gNN_cNN.avi of a class in classInd.txt")
    return Clip(file, action, int(match["group"]), fold(split) if split else REST)


def _whole_groups(found: Sequence[Clip]) -> None:
    parts: dict[tuple[str, int], str] = {}
    for clip in found:
        part = parts.setdefault((clip.action, clip.group), clip.part)
        if part != clip.part:
            raise pm.DataError(
                f"group {clip.group} of {clip.action} is in {part} and {clip.part}; its clips share a scene"
            )


def _labelled(line: str, numbers: Mapping[int, str], split: int) -> str:
    """The file in a line of a training list, whose label is that of its folder."""
    file, _, number = line.partition(" ")
    named = numbers.get(int(number)) if number.isdecimal() else None
    if named is None or named.lower() != file.partition("/")[0].lower():
        raise pm.DataError(f"training list {split}: {line!r}; its number is that of {named}")
    return file


def _filled(lines: Iterable[str]) -> Iterable[str]:
    return filter(None, map(str.strip, lines))
