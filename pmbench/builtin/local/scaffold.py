"""`pmbench data new`: a table and a description of a folder of recordings, to be checked by the user."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pmbench as pm

from .description import DESCRIPTION, Described
from .guess import reading_of
from .reading import ARRAYS, IMAGES, SOUNDS, VIDEOS, Reading, form_of
from .table import SPLITS, TABLE, read_table

KNOWN = (*VIDEOS, *IMAGES, *SOUNDS, *ARRAYS)
MOST_MODALITIES = 12
TEST_SHARE = 0.3
USUAL = re.compile(
    r"(?i)(rgb|colou?r|video|image|img|frame|depth|hha|ir|nir|infra|therm|flow|event|audio|sound|speech|mic|text|"
    r"imu|acc|gyro|mag|skel|pose|joint|lidar|radar|sar|seis|acou|eeg|ecg|emg|sensor|force|spec|msi|hsi)"
)
"""How names of modalities begin; one of two ways to read the names of files is chosen by it."""


@dataclass(frozen=True)
class Sample:
    """`key` identifies it; `files` maps modalities to paths relative to the folder."""

    key: tuple[str, ...]
    files: Mapping[str, Path]


def propose(folder: Path, name: str, *, frames: bool = False) -> tuple[dict[str, str], list[str]]:
    """A table and a description of the recordings in `folder`, text by file name, and notes on them.

    An existing table is described. Otherwise samples are found by their names: one folder a class, and files
    of one sample that differ in a folder, in the end of their names or in their endings. Raises DataError if
    no two files belong together.
    """
    if (folder / TABLE).exists():
        table = read_table(folder)
        notes = [*table.notes, f"{TABLE} is kept, with {pm.plural(len(table.rows), 'sample')}"]
        paths = {m: [folder / r[m] for r in table.rows if r[m]] for m in table.files}
        return {DESCRIPTION: _description(name, paths, notes)}, notes
    items = _items(folder, frames)
    samples, how = _pairs(items)
    rows, notes = _rows(samples)
    modalities = sorted({m for sample in samples for m in sample.files})
    notes = [f"{pm.plural(len(samples), 'sample')} of {', '.join(modalities)}: {how}", *notes]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["id", "label", "split", "group", *modalities])
    for row, sample in zip(rows, samples, strict=True):
        files = [sample.files[m].as_posix() if m in sample.files else "" for m in modalities]
        writer.writerow([*row, *files])
    paths = {m: [folder / s.files[m] for s in samples if m in s.files] for m in modalities}
    return {TABLE: out.getvalue(), DESCRIPTION: _description(name, paths, notes)}, notes


def _items(folder: Path, frames: bool) -> list[Path]:
    """Files of known kinds below `folder`, or with `frames` the folders of images, as relative paths."""
    found = []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if any(part.startswith(".") for part in relative.parts) or path.suffix.lower() not in KNOWN:
            continue
        if path.is_file() and relative.parts[0] not in (TABLE, DESCRIPTION):
            as_clip = frames and path.suffix.lower() in IMAGES and relative.parent != Path()
            found.append(relative.parent if as_clip else relative)
    if not found:
        raise pm.DataError(f"{folder} holds no file of a known kind", f"known are {', '.join(KNOWN)}")
    return list(dict.fromkeys(found))


def _pairs(items: Sequence[Path]) -> tuple[list[Sample], str]:
    """The samples by the most likely way to name modalities, and that way in words.

    Each modality has one ending of file names; its name is a usual one; most samples have all modalities.
    """
    depth = max(len(path.parts) for path in items) - 1
    ways = {f"a folder for each modality (level {n + 1})": _by_folder(items, n) for n in range(depth)}
    for mark in ("_", "-", "."):
        ways[f"names end in {mark}<modality>"] = _by_ending(items, mark)
    ways["one ending of file names for each modality"] = _by_suffix(items)
    best: tuple[tuple[Any, ...], dict[tuple[str, ...], dict[str, Path]]] | None = None
    how = ""
    for text, named in ways.items():
        files: dict[tuple[str, ...], dict[str, Path]] = {}
        for path, (modality, key) in named.items():
            files.setdefault(key, {})[modality] = path
        modalities = {m for found in files.values() for m in found}
        if len(named) != len(items) or not 2 <= len(modalities) <= MOST_MODALITIES:
            continue
        if len(modalities & SPLITS.keys()) == len(modalities):
            continue
        share = sum(len(found) == len(modalities) for found in files.values()) / len(files)
        suffixes: dict[str, set[str]] = {}
        for path, (modality, _) in named.items():
            suffixes.setdefault(modality, set()).add(path.suffix.lower())
        usual = sum(bool(USUAL.match(modality)) for modality in modalities) / len(modalities)
        score = (all(len(s) == 1 for s in suffixes.values()), usual, share, -len(modalities))
        if share > 0.5 and (best is None or score > best[0]):
            best, how = (score, files), text
    if best is None:
        raise pm.DataError(
            f"no two of {pm.plural(len(items), 'file')} belong to one sample by their names, such as "
            f"{items[0]} and {items[-1]}",
            "files of one sample differ in one folder (rgb/walk/01.png, depth/walk/01.png), in the end of "
            "their names (01_rgb.png, 01_depth.png) or in their endings (01.mp4, 01.npy); or write "
            f"{TABLE} yourself",
        )
    return [Sample(key, found) for key, found in sorted(best[1].items())], how


Named = dict[Path, tuple[str, tuple[str, ...]]]
"""Item -> modality and key of its sample."""


def _by_folder(items: Sequence[Path], level: int) -> Named:
    found: Named = {}
    for path in items:
        parts = [*path.parts[:-1], path.stem if path.suffix.lower() in KNOWN else path.name]
        if level < len(parts) - 1:
            found[path] = parts[level], tuple(p for n, p in enumerate(parts) if n != level)
    return found


def _by_ending(items: Sequence[Path], mark: str) -> Named:
    found: Named = {}
    for path in items:
        stem, _, modality = path.stem.rpartition(mark)
        if stem and modality and not modality.isdecimal():
            found[path] = modality, (*path.parts[:-1], stem)
    return found


def _by_suffix(items: Sequence[Path]) -> Named:
    names = {"video": "video", "image": "image", "sound": "audio", "array": "sensor", "frames": "video"}
    by_suffix = {p.suffix.lower(): names[form_of(p)] for p in items if p.suffix}
    several = {form for form, count in Counter(by_suffix.values()).items() if count > 1}
    found: Named = {}
    for path in items:
        suffix = path.suffix.lower()
        if suffix in by_suffix:
            form = by_suffix[suffix]
            found[path] = (suffix[1:] if form in several else form), (*path.parts[:-1], path.stem)
    return found


def _rows(samples: Sequence[Sample]) -> tuple[list[tuple[str, str, str, str]], list[str]]:
    """id, label, split and group of each sample, and notes on where they are from."""
    depth = min(len(sample.key) for sample in samples) - 1
    levels = [{sample.key[n] for sample in samples} for n in range(depth)]
    split = next(
        (n for n, names in enumerate(levels) if {x.casefold() for x in names} <= SPLITS.keys()), None
    )
    rest = [n for n in range(depth) if n != split and len(levels[n]) > 1]
    label = min(rest, key=lambda n: len(levels[n]), default=None)
    group = next((n for n in rest if n != label), None)
    notes = [
        "label: the name of the folder" if label is not None else "label: EMPTY, fill it in",
        "group: the name of the other folder"
        if group is not None
        else "group: empty; name there what samples share (person, place, recording), if they do",
    ]
    if split is not None:
        notes.append("split: the name of the folder")
    else:
        what = "whole groups" if group is not None else "samples of each class"
        notes.append(f"split: {TEST_SHARE * 100:.0f} % of the {what} for the test, by a fixed hash; check it")
    rows = []
    for sample in samples:
        share = _share(sample.key[group] if group is not None else "/".join(sample.key))
        part = SPLITS[sample.key[split].casefold()] if split is not None else ""
        rows.append(
            (
                "/".join(sample.key),
                sample.key[label] if label is not None else "",
                part or ("test" if share < TEST_SHARE else "train"),
                sample.key[group] if group is not None else "",
            )
        )
    return rows, notes


def _share(name: str) -> float:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big") / 2**48


HEAD = """\
# How `pmbench data prepare local/{name} --source THIS/FOLDER` reads this folder.
# Lines that begin with # are comments. What is not said here is guessed from the files.

target = {target!r}    # tested on; all other modalities are privileged: given in training only
"""


def _description(name: str, paths: Mapping[str, Sequence[Path]], notes: list[str]) -> str:
    lines = [HEAD.format(name=name, target=next(iter(paths))).replace("'", '"')]
    for modality, files in paths.items():
        reading, found = reading_of(modality, files, Described())
        notes += found
        lines += [f"[modalities.{_quoted(modality)}]", *_keys(modality, reading), ""]
    return "\n".join(lines)


def _quoted(name: str) -> str:
    plain = name.replace("-", "").replace("_", "")
    return name if plain.isascii() and plain.isalnum() else f'"{name}"'


def _keys(modality: str, reading: Reading) -> list[str]:
    kind = "sound" if reading.form == "sound" else reading.kind
    lines = [f'column = "{modality}"', f'kind = "{kind}"    # vector, sequence, sound, image or clip']
    if reading.form != "sound":
        lines.append(f'unit = "{reading.unit}"')
    if reading.stored is not None:
        height, width = reading.shape[-2:]
        lines += [
            f"channels = {reading.shape[0]}",
            f"size = [{height}, {width}]    # height and width that networks see",
            f"stored_size = {list(reading.stored)}    # crops of `size` are taken from it",
            f'stored = "{"raw" if reading.lossless else "jpeg"}"    # raw keeps all bits; jpeg is smaller',
            f'flip = "{reading.flip}"    # mirror half of the training samples, or ""',
        ]
    if reading.seconds is not None:
        lines.append(f"seconds = {reading.seconds:g}    # longer recordings are cut, shorter ones padded")
    if reading.time_axis is not None:
        lines += [
            f"time_axis = {reading.time_axis}    # of the files' arrays",
            f"length = {reading.shape[1]}    # time steps; longer recordings are cut, shorter ones padded",
            "# rate = 50    # time steps a second",
        ]
    return [*lines, "# range = [0, 1]    # numbers outside are errors"]
