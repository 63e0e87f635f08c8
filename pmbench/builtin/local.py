"""`local/<name>`: a user's own folder, described by a manifest, as a data set without a plugin."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pmbench as pm

MANIFEST = "manifest.csv"
COLUMNS = ("id", "label", "split", "group")
PARTS = ("train", "validation", "test")
VIDEOS = (".avi", ".mp4", ".m4v", ".3gp", ".mkv", ".webm", ".mov", ".mpg", ".gif")
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
SOUNDS = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a")
LONGEST = 4000  # digits of a label that is ordered as a number; Python reads no more than 4,300
STORED, SHOWN, FRAMES, SECONDS = (128, 171), 112, 16, 10.0
BACKBONES = {"clip": "r2plus1d_18", "image": "cnn2d-32", "sequence": "cnn1d-32", "vector": "mlp-32"}


class Local(pm.Dataset):
    """Samples listed in `manifest.csv`: columns id, label, split (train, validation or test), group if
    samples belong together, and for each modality one of paths, relative to the folder; an empty path is a
    missing modality. The first of them is the target modality, the others are privileged.

    The file type determines the modality's kind: a video or a folder of numbered images is a clip, an image
    file an image, a sound its log-mel spectrogram over time, an .npy of one axis a vector, of two a sequence.
    """

    name = "local"
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
    access = f"write a {MANIFEST} with columns {', '.join(COLUMNS)} and one of paths for each modality"

    def named(self, name: str) -> Local:
        """The data set of that name; its source or prepared form declares classes and modalities."""
        made = Local()
        made.__dict__["name"] = f"{Local.name}/{name}"
        return made

    def at(self, source: Path) -> Local:
        """As the manifest in `source` describes it."""
        if self.name == Local.name:
            raise pm.UsageError(
                "your own folder needs a name", f"`pmbench data prepare local/<name> --source {source}`"
            )
        rows, modalities = read_manifest(source)
        return self.declared(
            {
                "classes": sorted({row["label"] for row in rows} - {""}, key=_in_order),
                "modalities": [vars(_modality(source, name, rows)) for name in modalities],
                "validation": any(row["split"] == "validation" for row in rows),
            }
        )

    def declared(self, declaration: Mapping[str, Any]) -> Local:
        made = Local()
        modalities = tuple(
            pm.Modality(**{**m, "shape": tuple(m["shape"])}) for m in declaration["modalities"]
        )
        split = pm.Split("train", "test", "validation" if declaration["validation"] else None)
        made.__dict__.update(
            name=self.name,
            declaration=dict(declaration),
            classes=tuple(declaration["classes"]),
            modalities=modalities,
            target=(modalities[0].name,),
            privileged=tuple(m.name for m in modalities[1:]),
            splits={"official": split},
            backbones={m.name: BACKBONES[m.kind] for m in modalities},
        )
        return made

    def read(self, source: Path) -> Iterator[tuple[str, pm.Part]]:
        import numpy as np

        rows, _ = read_manifest(source)
        grouped = any(row["group"] for row in rows)
        for part in PARTS:
            mine = [row for row in rows if row["split"] == part]
            if part == "validation" and not mine:
                continue
            labels = [self.classes.index(row["label"]) if row["label"] else -1 for row in mine]
            arrays = {
                m.name: pm.Files(
                    [source / row[m.name] if row[m.name] else None for row in mine],
                    partial(load, kind=m.kind),
                )
                for m in self.modalities
            }
            groups = [row["group"] or row["id"] for row in mine] if grouped else None
            yield part, pm.Part([row["id"] for row in mine], np.array(labels, np.int64), arrays, groups)


def read_manifest(source: Path) -> tuple[list[dict[str, str]], list[str]]:
    """Rows of the manifest, and the names of its columns of paths; raises DataError that names the line."""
    path = source / MANIFEST
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            rows = [{name: (value or "").strip() for name, value in row.items() if name} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise pm.DataError(f"{path} cannot be read: {error}", Local.access) from error
    lacking = [name for name in COLUMNS[:3] if name not in columns]
    modalities = [name for name in columns if name and name not in COLUMNS]
    if twice := [name for name in columns if name and columns.count(name) > 1]:
        raise pm.DataError(f"{path} has more than one column {twice[0]!r}", Local.access)
    if lacking or len(modalities) < 2 or not rows:
        raise pm.DataError(
            f"{path} has {len(rows)} rows with columns {', '.join(columns) or 'none'}; expected id, label, "
            "split, perhaps group, and at least two of paths",
            Local.access,
        )
    for line, row in enumerate(rows, 2):
        row.setdefault("group", "")
        if row["split"] not in PARTS:
            raise pm.DataError(f"{path}, line {line}: split {row['split']!r}; expected {', '.join(PARTS)}")
        if not row["id"] or (row["split"] == "test" and not row["label"]):
            raise pm.DataError(f"{path}, line {line}: a sample needs an id, and for the test a label")
        for name in modalities:
            if row[name] and not os.path.exists(source / row[name]):  # also False for an impossible name
                raise pm.DataError(
                    f"{path}, line {line}: {name} {row[name][:100]!r} does not exist in {source}"
                )
    return rows, modalities


def _modality(source: Path, name: str, rows: Sequence[Mapping[str, str]]) -> pm.Modality:
    """Inferred from the first existing file."""
    first = next((source / row[name] for row in rows if row[name]), None)
    if first is None:
        raise pm.DataError(f"{source / MANIFEST}: no sample has {name!r}")
    kind = _kind(first)
    if kind == "clip":
        return pm.Modality(name, kind, (3, FRAMES, SHOWN, SHOWN), "8 bit", flip="mirror")
    if kind == "image":
        return pm.Modality(name, kind, (3, SHOWN, SHOWN), "8 bit", flip="mirror")
    unit = "dB" if first.suffix.lower() in SOUNDS else "as given"
    return pm.Modality(name, kind, tuple(load(first, kind).shape), unit)


def _kind(path: Path) -> str:
    ending = path.suffix.lower()
    if path.is_dir() or ending in VIDEOS:
        return "clip"
    if ending in IMAGES:
        return "image"
    if ending in SOUNDS:
        return "sequence"
    if ending == ".npy":
        return {1: "vector", 2: "sequence"}.get(_array(path).ndim, "other")
    known = ", ".join((*VIDEOS, *IMAGES, *SOUNDS, ".npy"))
    raise pm.DataError(f"{path}: unknown kind of file; known are folders of images and {known}")


def load(path: Path, kind: str) -> Any:
    """One sample: frames of a clip or an image, or an array."""
    if _kind(path) != kind:
        raise pm.DataError(f"{path} is not a {kind} like the first file of its column")
    if kind == "clip":
        return _numbered(path) if path.is_dir() else pm.media.video_frames(path, STORED)
    if kind == "image":
        return [pm.media.image(path, STORED)]
    if path.suffix.lower() in SOUNDS:
        return pm.media.log_mel(pm.media.sound(path), seconds=SECONDS)
    return _array(path)


def _numbered(folder: Path) -> Any:
    """Images of one folder, whose names differ in their last number."""
    shown = [p.name for p in folder.iterdir() if not p.name.startswith(".")]
    names = sorted(name for name in shown if name.lower().endswith(IMAGES))
    if not names:
        raise pm.DataError(f"{folder} holds no image")
    pattern = re.sub(r"\d+(?=\D*$)", "*", names[0], count=1)
    if unexpected := [name for name in names if re.sub(r"\d+(?=\D*$)", "*", name, count=1) != pattern]:
        raise pm.DataError(f"{folder}: {unexpected[0]} is not named like {pattern}, as {names[0]} is")
    return pm.media.image_frames(folder, STORED, pattern)


def _array(path: Path) -> Any:
    import numpy as np

    try:
        array = np.load(path, allow_pickle=False)
    except Exception as error:  # a damaged head can raise almost any
        raise pm.DataError(f"{path} is not an .npy file of numbers: {error}") from error
    if not isinstance(array, np.ndarray):
        raise pm.DataError(f"{path} is not an .npy file of numbers but an archive of several, as .npz")
    if array.ndim not in (1, 2) or array.dtype.kind not in "biuf":
        raise pm.DataError(f"{path}: {array.dtype} of {array.ndim} axes; expected numbers of one or two")
    return array


def _in_order(label: str) -> tuple[bool, int, str]:
    number = label.isdecimal() and len(label) < LONGEST
    return (False, int(label), label) if number else (True, 0, label)
