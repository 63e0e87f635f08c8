"""`local/<name>`: a user's own folder as a data set without a plugin."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pmbench as pm

from .description import DESCRIPTION, Described, Description, read_description
from .table import HELP, PARTS, Table, read_table

if TYPE_CHECKING:
    from .reading import Reading

# `guess`, `reading` and `scaffold` import numpy, which listing data sets does not need.

LONGEST = 4000
"""Digits of a label that is ordered as a number; Python reads no more than 4,300."""


class Local(pm.Dataset):
    """Samples listed in `manifest.csv`: columns id, label, split (train, validation or test), group if
    samples belong together, and for each modality one of paths, relative to the folder; an empty path is a
    missing modality. The first of them is the target modality, the others are privileged. `dataset.toml` may
    say more: the target, and how files are read (docs/your-own-recordings.md).

    The file type determines the modality's kind: a video or a folder of numbered images is a clip, an image
    file an image, a sound its log-mel spectrogram over time, and an array (.npy, .csv, .mat, .parquet) of one
    axis a vector, of two a sequence.
    """

    name = "local"
    version = 2
    summary = "your own folder with a manifest.csv, prepared as local/<name>"
    classes: ClassVar[tuple[str, ...]] = ()
    modalities: ClassVar[tuple[pm.Modality, ...]] = ()
    target: ClassVar[tuple[str, ...]] = ()
    privileged: ClassVar[tuple[str, ...]] = ()
    splits: ClassVar = {"official": pm.Split("train", "test")}
    default_protocol = "official"
    backbones: ClassVar[Mapping[str, str]] = {}
    licence = citation = "your own"
    source = "your own folder"
    access = (
        "`pmbench data new NAME FOLDER` writes a manifest.csv with columns id, label, split, group and one "
        "of paths for each modality"
    )
    duplicates_are_errors = True

    def named(self, name: str) -> Local:
        """The data set of that name; its source or prepared form declares classes and modalities."""
        if not re.fullmatch(r"\w[\w.-]*", name):
            raise pm.UsageError(
                f"no data set can be called {name!r}", "use letters, digits, '-', '_' and '.'"
            )
        made = Local()
        made.__dict__["name"] = f"{Local.name}/{name}"
        return made

    def at(self, source: Path) -> Local:
        """As the files in `source` describe it."""
        if self.name == Local.name:
            raise pm.UsageError(
                "your own folder needs a name", f"`pmbench data prepare local/<name> --source {source}`"
            )
        description = read_description(source)
        table = read_table(source, description.table, description.columns)
        readings, columns, notes = _readings(source, table, description)
        rows = table.rows
        made = self.declared(
            {
                "classes": sorted({row["label"] for row in rows} - {""}, key=_in_order),
                "readings": [{"name": name, **reading.as_json()} for name, reading in readings.items()],
                "columns": columns,
                "target": list(description.target or [next(iter(readings))]),
                "validation": any(row["split"] == "validation" for row in rows),
                "described_by": [description.table, DESCRIPTION],
                "grouped": any(row["group"] for row in rows),
            }
        )
        groups = "samples of one group stay together when validation data is set aside"
        if not any(row["group"] for row in rows):
            groups = (
                "there is no column `group`: if several samples come from one person, place or recording, "
                "name it there, or the validation data resembles the training data"
            )
        made.__dict__["notes"] = (*table.notes, *notes, groups, *_shared_groups(rows))
        made.__dict__["table"] = table
        return made

    def declared(self, declaration: Mapping[str, Any]) -> Local:
        from .guess import backbones_of

        made = Local()
        readings = _declared_readings(declaration)
        split = pm.Split("train", "test", "validation" if declaration["validation"] else None)
        target = tuple(declaration["target"])
        made.__dict__.update(
            name=self.name,
            declaration=dict(declaration),
            classes=tuple(declaration["classes"]),
            modalities=tuple(reading.modality(name) for name, reading in readings.items()),
            target=target,
            privileged=tuple(name for name in readings if name not in target),
            splits={"official": split},
            backbones=backbones_of(readings),
        )
        return made

    def read(self, source: Path) -> Iterator[tuple[str, pm.Part]]:
        import numpy as np

        declaration = self.declaration
        table: Table | None = self.__dict__.get("table")
        assert declaration is not None, "`at` comes before `read`"
        assert table is not None
        for part in PARTS:
            rows = [row for row in table.rows if row["split"] == part]
            if part == "validation" and not rows:
                continue
            labels = [self.classes.index(row["label"]) if row["label"] else -1 for row in rows]
            columns = declaration["columns"]
            arrays = {
                m.name: self.files(m.name, _paths(source, rows, columns[m.name])) for m in self.modalities
            }
            groups = [row["group"] or row["id"] for row in rows] if declaration["grouped"] else None
            yield part, pm.Part([row["id"] for row in rows], np.array(labels, np.int64), arrays, groups)

    def files(self, modality: str, paths: Sequence[Path | None]) -> pm.Files:
        from .reading import load

        assert self.declaration is not None
        reading = _declared_readings(self.declaration)[modality]
        return pm.Files(paths, partial(load, reading=reading), lossless=reading.lossless)

    def propose(self, folder: Path, *, frames: bool = False) -> tuple[Mapping[str, str], Sequence[str]]:
        from .scaffold import propose

        return propose(folder, self.name.partition("/")[2], frames=frames)


def _shared_groups(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """A note on groups that are in the test and in other parts."""
    tested = {row["group"] for row in rows if row["split"] == "test"} - {""}
    shared = sorted(tested & {row["group"] for row in rows if row["split"] != "test"})
    if not shared:
        return []
    named = ", ".join(shared[:5]) + (", ..." if len(shared) > 5 else "")
    count = f"{len(shared)} group{'s are' if len(shared) > 1 else ' is'}"
    return [f"WARNING: {count} in training and in the test ({named}): results on new ones may be worse"]


def _declared_readings(declaration: Mapping[str, Any]) -> dict[str, Reading]:
    from .reading import Reading

    found = {}
    for values in declaration["readings"]:
        found[values["name"]] = Reading.from_json({k: v for k, v in values.items() if k != "name"})
    return found


def _readings(
    source: Path, table: Table, description: Description
) -> tuple[dict[str, Reading], dict[str, str], list[str]]:
    """Reading and column of each modality, and notes on them."""
    from .guess import reading_of

    described = dict(description.modalities or {})
    for name, one in described.items():
        if (one.column or name) not in table.files:
            raise pm.DataError(
                f"{source / DESCRIPTION}: modality {name!r} has no column of paths {one.column or name!r} in "
                f"{table.path.name}; its columns of paths: {', '.join(table.files) or 'none'}",
                HELP,
            )
    taken = {one.column or name for name, one in described.items()}
    order = [name for name in table.files if name in described or name not in taken]
    names = list(dict.fromkeys([*order, *described]))
    if len(names) < 2:
        raise pm.DataError(
            f"{table.path} has {pm.plural(len(names), 'column')} of paths ({', '.join(names)}); expected at "
            "least two: one that is tested on and one that is privileged",
            HELP,
        )
    if unknown := [name for name in description.target if name not in names]:
        raise pm.DataError(f"{source / DESCRIPTION}: target {unknown[0]!r} is none of {', '.join(names)}")
    if len(description.target) == len(names):
        raise pm.DataError(
            f"{source / DESCRIPTION}: all modalities are targets; at least one must be privileged"
        )
    readings, columns, notes = {}, {}, []
    for name in names:
        one = described.get(name, Described())
        columns[name] = one.column or name
        paths = [path for path in _paths(source, table.rows, columns[name]) if path is not None]
        readings[name], more = reading_of(name, paths, one)
        notes += more
    return readings, columns, notes


def _paths(source: Path, rows: Sequence[Mapping[str, str]], column: str) -> list[Path | None]:
    return [source / row[column] if row[column] else None for row in rows]


def _in_order(label: str) -> tuple[bool, int, str]:
    number = label.isdecimal() and len(label) < LONGEST
    return (False, int(label), label) if number else (True, 0, label)
