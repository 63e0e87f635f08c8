"""Readings of modalities: what the user declares, and guesses from the files for the rest."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import pmbench as pm

from .description import Described
from .reading import Form, Reading, form_of, numbered, numbers

LOOKED_AT = 200
"""Largest number of files of a modality that a guess opens."""
SHOWN, FRAMES, LONGEST = 112, 16, 10.0
"""Height and width of images in pixels, frames of a clip, and seconds of sound, at most."""
MARGIN = 8 / 7
"""Stored images are larger by this factor than the crops that networks see."""


def reading_of(name: str, files: Sequence[Path], described: Described) -> tuple[Reading, list[str]]:
    """The reading of a modality, and notes that say what it changes and what is guessed.

    `files` are those of all samples that have the modality. Raises DataError for none, or files that no
    reading fits.
    """
    if not files:
        raise pm.DataError(f"no sample has {name!r}")
    looked = [files[i] for i in np.linspace(0, len(files) - 1, min(len(files), LOOKED_AT)).astype(int)]
    form, notes = _form(name, files, described)
    if form in ("video", "frames", "image"):
        reading, more = _pictures(name, form, looked, described)
    elif form == "sound":
        reading, more = _sound(looked, described)
    else:
        reading, more = _array(looked, described)
    if form in ("video", "sound") and (untold := next((path for path in looked if _untold(path)), None)):
        more.append(
            f"files such as {untold.name} do not tell their length: one that is truncated between two "
            "packets is taken for whole"
        )
    if described.range is None and reading.unit == "mm":
        more.append("its numbers are taken for millimetres; set `unit` in dataset.toml if they are not")
    return reading, [f"{name}: {note}" for note in (*notes, *more)]


def _form(name: str, files: Sequence[Path], described: Described) -> tuple[Form, list[str]]:
    """The most frequent form of the files, as declared."""
    form = Counter(map(form_of, files)).most_common(1)[0][0]
    first = next(path for path in files if form_of(path) == form)
    if described.kind == "sound" and form in ("video", "sound"):
        return "sound", []
    if form == "array" and described.kind == "image":
        return "image", []
    kinds = {"video": ("clip",), "frames": ("clip",), "image": ("image",), "sound": ("sound", "sequence")}
    if described.kind and described.kind not in kinds.get(form, ("vector", "sequence")):
        raise pm.DataError(f"{name!r} is declared as {described.kind}, but {first} is of another kind")
    if form == "video" and not described.kind and re.search(r"(?i)audio|sound|speech|voice|mic", name):
        return "sound", ["its name says sound, so the sound of the videos is read, not their frames (`kind`)"]
    return form, []


# --- images and clips ---------------------------------------------------------------------------------------


def _pictures(
    name: str, form: Form, files: Sequence[Path], described: Described
) -> tuple[Reading, list[str]]:
    sizes, first, deep_video = _image_sizes(form, files)
    channels = described.channels or (
        3 if first.dtype == np.uint8 and first.shape[2] <= 3 else first.shape[2]
    )
    notes = []
    if deep_video:
        notes.append("videos of more than 8 bits a color are read with 8")
    ratio = median(width / height for height, width in sizes)
    short = int(median(min(size) for size in sizes))
    shown = described.size or _shown(short, ratio)
    stored = described.stored_size or _stored(shown, short, ratio)
    if stored[0] < shown[0] or stored[1] < shown[1]:
        raise pm.DataError(f"{name!r}: stored_size {stored} is smaller than size {shown}")
    flip = "mirror" if described.flip is None else described.flip
    kind = "image" if form == "image" else "clip"
    dtype = str(first.dtype)
    lossless = described.stored == "raw" or dtype != "uint8" or channels not in (1, 3)
    unit = described.unit or _unit(name, dtype)
    shape = (channels, *((FRAMES,) if kind == "clip" else ()), *shown)
    low, high = min(sizes), max(sizes)
    span = f"{low[0]} x {low[1]}" + (f" to {high[0]} x {high[1]}" if low != high else "")
    if any(size != stored for size in sizes):
        way = "bilinear filtering" if dtype == "uint8" else "nearest neighbor"
        notes.append(f"images of {span} pixels are resized to {stored[0]} x {stored[1]} by {way}")
    squashed = max(abs(width / height / (stored[1] / stored[0]) - 1) for height, width in sizes)
    if squashed > 0.02:
        notes.append(f"which changes their aspect ratio by up to {squashed * 100:.0f} %")
    if stored != shown:
        notes.append(f"networks see crops of {shown[0]} x {shown[1]}, at the test the center")
    if kind == "clip":
        notes.append(f"networks see {FRAMES} frames in a row (protocols clip-F and even-F change that)")
    if flip:
        notes.append("half of the training samples are mirrored (`flip`)")
    notes.append("stored as they are" if lossless else "stored as JPEG of quality 90")
    grid = described.grid if described.grid is not None else "image"
    return Reading(
        form, kind, shape, unit, stored=stored, dtype=dtype, lossless=lossless, flip=flip, grid=grid,
        range=described.range, rate=described.rate,
    ), ["; ".join(notes)]  # fmt: skip


def _image_sizes(form: Form, files: Sequence[Path]) -> tuple[list[tuple[int, int]], np.ndarray, bool]:
    """(height, width) of the images, the first image, and whether a video has more than 8 bits a color."""
    if form == "video":
        found = [size for path in files if (size := _video_size(path))] or [pm.media.video_size(files[0])]
        return (
            [(h, w) for h, w, _ in found],
            np.zeros((1, 1, 3), np.uint8),
            any(bits > 8 for *_, bits in found),
        )
    first, sizes = None, []
    for path in files:
        try:
            image = numbered(path)[0] if form == "frames" else path
            first = pm.media.pixels(image) if first is None else first
            sizes.append(pm.media.image_size(image))
        except pm.DataError:
            if path is files[-1] and first is None:
                raise
    assert first is not None
    return sizes, first, False


def _video_size(path: Path) -> tuple[int, int, int] | None:
    try:
        return pm.media.video_size(path)
    except pm.DataError:
        return None  # reading reports it


def _shown(short: int, ratio: float) -> tuple[int, int]:
    if short * 1.0 >= SHOWN * MARGIN:
        return SHOWN, SHOWN
    return (short, round(short * ratio)) if ratio >= 1 else (round(short / ratio), short)


def _stored(shown: tuple[int, int], short: int, ratio: float) -> tuple[int, int]:
    """Images with a margin for crops, at the files' aspect ratio; as shown if the files are not larger."""
    if short < min(shown) * MARGIN:
        return shown
    height, width = round(shown[0] * MARGIN), round(shown[1] * MARGIN)
    if ratio >= width / height:
        return height, round(height * ratio)
    return round(width / ratio), width


def _unit(name: str, dtype: str) -> str:
    if dtype == "uint8":
        return "8 bit"
    if dtype == "uint16" and re.search(r"(?i)depth|distance|range", name):
        return "mm"
    return "16 bit" if dtype == "uint16" else "as given"


# --- sound and arrays ---------------------------------------------------------------------------------------


def _sound(files: Sequence[Path], described: Described) -> tuple[Reading, list[str]]:
    durations = [seconds for path in files if (seconds := _duration(path)) is not None]
    longest = max(durations, default=LONGEST)
    seconds = described.seconds or min(LONGEST, np.ceil(longest * 10) / 10)
    shape = pm.media.log_mel_shape(seconds)
    low = min(durations, default=longest)
    notes = [f"recordings of {low:.1f} to {longest:.1f} s become log-mel spectrograms of {seconds:g} s"]
    if longest > seconds + 0.05:
        notes.append("longer ones are cut")
    if low < seconds - 0.05:
        notes.append("shorter ones are padded with silence (`seconds`)")
    return Reading(
        "sound", "sequence", shape, "dB", seconds=float(seconds), range=described.range, rate=described.rate
    ), ["; ".join(notes)]


def _duration(path: Path) -> float | None:
    try:
        return pm.media.duration(path)
    except pm.DataError:
        return None  # reading reports it


def _untold(path: Path) -> bool:
    try:
        return not pm.media.tells_length(path)
    except pm.DataError:
        return False  # reading reports it


def _array(files: Sequence[Path], described: Described) -> tuple[Reading, list[str]]:
    shapes, errors = [], []
    for path in files:
        try:
            shapes.append(numbers(path, described.variable, described.columns).shape)
        except pm.DataError as error:
            errors.append(error)  # reading reports it
    if not shapes:
        raise errors[0]
    axes = {len(shape) for shape in shapes}
    unit = described.unit or "as given"
    common: dict[str, Any] = {"variable": described.variable, "columns": described.columns}
    common |= {"range": described.range, "rate": described.rate}
    sequence = described.kind == "sequence" or described.time_axis is not None or described.length is not None
    if axes == {1} and not sequence:
        return Reading("array", "vector", shapes[0], unit, **common), []
    if axes == {1}:
        lengths, channels, axis = [shape[0] for shape in shapes], 1, 1
        notes: list[str] = []
    else:
        both = [shape for shape in shapes if len(shape) == 2]
        axis, notes = _time_axis(both, files[0], described)
        lengths = [shape[axis] for shape in both]
        channels = described.channels or both[0][1 - axis]
    length = described.length or max(lengths)
    if min(lengths) < length or max(lengths) > length:
        notes.append(f"recordings of {min(lengths)} to {max(lengths)} time steps become {length}")
        notes += ["longer ones are cut"] if max(lengths) > length else []
        notes += ["shorter ones are padded with zeros (`length`)"] if min(lengths) < length else []
    shape, cut = (channels, length), described.length is not None
    reading = Reading("array", "sequence", shape, unit, time_axis=axis, cut=cut, **common)
    return reading, ["; ".join(notes)] if notes else []


def _time_axis(shapes: Sequence[tuple[int, ...]], first: Path, described: Described) -> tuple[int, list[str]]:
    if described.time_axis is not None:
        return described.time_axis, []
    if first.suffix.lower() not in (".npy", ".npz", ".mat"):
        return 0, []  # tables have a line for each time step
    varying = [axis for axis in (0, 1) if len({shape[axis] for shape in shapes}) > 1]
    axis = varying[0] if len(varying) == 1 else int(np.argmax(shapes[0]))
    other = shapes[0][1 - axis]
    return axis, [f"axis {axis} is taken for time and axis {1 - axis} for {other} channels (`time_axis`)"]


def backbones_of(readings: Mapping[str, Reading]) -> dict[str, str]:
    usual = {"clip": "r2plus1d_18", "image": "cnn2d-32", "sequence": "cnn1d-32", "vector": "mlp-32"}
    return {name: usual[reading.kind] for name, reading in readings.items()}
