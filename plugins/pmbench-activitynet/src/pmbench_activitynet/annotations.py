"""What the annotations of ActivityNet 1.3 say: a pure function of the JSON document."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import pmbench as pm

ID = re.compile(r"[\w-]{11}", re.ASCII)
"""An id of YouTube; it may start with `-` or `_`."""
SUBSETS: Mapping[str, str] = {"training": "train", "validation": "validation"}
"""Subset -> part; the labels of "testing" are withheld."""


@dataclass(frozen=True, order=True)
class Video:
    """One labelled video; `part` is train or validation."""

    id: str
    part: str
    label: str


def videos(document: Any, classes: Collection[str]) -> list[Video]:
    """The labelled videos of a document, by id; raises DataError unless it annotates release 1.3.

    A video's label is the one with the longest segments together, the first by name of equals.
    """
    if not isinstance(document, Mapping) or not isinstance(document.get("database"), Mapping):
        raise pm.DataError(
            "it has no 'database'", "activity_net.v1-3.min.json is needed, no file of results or features"
        )
    version = str(document.get("version", ""))
    if "1.3" not in version:
        raise pm.DataError(
            f"it is of release {version or 'unknown'!r}",
            "release 1.3 is needed (200 classes); 1.2 has 100 and 1.1 has 203",
        )
    found = []
    for name, entry in sorted(document["database"].items()):
        try:
            if entry["subset"] == "testing":
                continue
            part, label = SUBSETS[entry["subset"]], _longest(entry["annotations"])
        except (KeyError, TypeError, ValueError) as error:
            raise pm.DataError(f"the entry of {name} is damaged: {error!r}") from error
        if not ID.fullmatch(name):
            raise pm.DataError(f"{name!r} is no id of a video; expected 11 letters, digits, '-' or '_'")
        if label not in classes:
            raise pm.DataError(f"{label!r} of {name} is none of the {len(classes)} classes of release 1.3")
        found.append(Video(name, part, label))
    return found


def _longest(annotations: list[Mapping[str, Any]]) -> str:
    seconds: dict[str, float] = defaultdict(float)
    for one in annotations:
        start, end = one["segment"]
        seconds[one["label"]] += max(0.0, float(end) - float(start))
    return max(sorted(seconds), key=lambda label: seconds[label])


def id_of(file: str) -> str | None:
    """The id in the name of a video: `v_<id>.mp4` as the official crawler writes it, or `<id>.mp4`."""
    stem, _, ending = file.rpartition(".")
    if ending.lower() not in ("mp4", "mkv", "webm"):
        return None
    name = stem[2:] if len(stem) == 13 and stem.startswith("v_") else stem
    return name if ID.fullmatch(name) else None
