"""How the files of a modality become samples."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

import pmbench as pm

VIDEOS = (".avi", ".mp4", ".m4v", ".mkv", ".webm", ".mov", ".mpg", ".mpeg", ".3gp", ".ts", ".gif")
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
SOUNDS = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac")
TEXTS = (".csv", ".tsv", ".txt")
ARRAYS = (".npy", ".npz", ".mat", ".parquet", *TEXTS)

Form = Literal["video", "frames", "image", "sound", "array"]


@dataclass(frozen=True)
class Reading:
    """The reading of one modality's files; JSON values, kept in the prepared form.

    `form` is what a file is: a video, a folder of numbered images ("frames"), an image, a recording of sound,
    or an array of numbers. `shape` is that of one sample at the network.

    Images and clips: `stored` (height, width) in pixels, which `shape` is cropped from, and `dtype` of the
    numbers; those other than "uint8" are resized by nearest neighbor and kept as they are. `lossless` keeps
    8-bit frames so, too. Sound: log-mel spectrogram of the first `seconds`, padded with silence. Arrays:
    `time_axis` (0 or 1) of a recording, of which the first `shape[1]` steps are taken if `cut`; shorter ones
    are padded with zeros. `variable` of an .npz or .mat file, `columns` of a table. Numbers outside `range`
    are errors.
    """

    form: Form
    kind: str
    shape: tuple[int, ...]
    unit: str
    stored: tuple[int, int] | None = None
    dtype: str = "uint8"
    lossless: bool = False
    flip: Literal["", "mirror", "negate"] = ""
    grid: str = ""
    seconds: float | None = None
    time_axis: int | None = None
    cut: bool = False
    variable: str = ""
    columns: tuple[str, ...] = ()
    range: tuple[float, float] | None = None
    rate: float | None = None

    def modality(self, name: str) -> pm.Modality:
        return pm.Modality(name, self.kind, self.shape, self.unit, grid=self.grid, flip=self.flip)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Reading:
        found: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**found)


def form_of(path: Path) -> Form:
    """What a file is, by its name; raises DataError for unknown names."""
    ending = path.suffix.lower()
    if path.is_dir():
        return "frames"
    for form, endings in _ENDINGS.items():
        if ending in endings:
            return form
    known = ", ".join((*VIDEOS, *IMAGES, *SOUNDS, *ARRAYS))
    raise pm.DataError(f"{path}: unknown kind of file; known are folders of images and {known}")


_NAMES: dict[Form, str] = {
    "video": "a video",
    "frames": "a folder",
    "image": "an image",
    "sound": "a recording of sound",
    "array": "an array",
}
_ENDINGS: dict[Form, tuple[str, ...]] = {"video": VIDEOS, "image": IMAGES, "sound": SOUNDS, "array": ARRAYS}


def load(path: Path, reading: Reading) -> Any:
    """One sample: the frames (H, W, C) of a clip or an image, or an array of the modality's shape.

    Raises DataError for a file of another form than the modality's, or whose numbers do not fit.
    """
    form = form_of(path)
    if form != reading.form and (form, reading.form) not in (("video", "sound"), ("array", "image")):
        raise pm.DataError(
            f"{path} is {_NAMES[form]}; the other files of its column are {reading.kind}s of another form"
        )
    if reading.form == "sound":
        return _in_range(path, pm.media.log_mel(pm.media.sound(path), seconds=reading.seconds), reading)
    if reading.form == "array":
        return _in_range(path, recording(path, reading), reading)
    return _checked_frames(path, _frames(path, reading), reading)


# --- images and clips ---------------------------------------------------------------------------------------


def _frames(path: Path, reading: Reading) -> Iterator[np.ndarray]:
    size, as_8_bit = reading.stored, reading.dtype == "uint8"
    assert size is not None
    if reading.form == "video":
        yield from pm.media.video_frames(path, size)
        return
    files = [path] if reading.form == "image" else numbered(path)
    for file in files:
        if as_8_bit and reading.shape[0] == 3:
            yield _colors(file, size)
        elif as_8_bit and reading.shape[0] == 1:
            colors = _colors(file, size)
            if (colors != colors[..., :1]).any():
                raise pm.DataError(f"{file} has colors; expected one channel of grey, as `channels = 1` says")
            yield colors[..., :1]
        else:
            found = pm.media.pixels(file)
            if str(found.dtype) != reading.dtype or found.shape[2] != reading.shape[0]:
                raise pm.DataError(
                    f"{file} holds {found.dtype} of {found.shape[2]} channels; expected {reading.dtype} of "
                    f"{reading.shape[0]}, as in the first file of its column"
                )
            yield pm.media.nearest(found, size)


def _colors(file: Path, size: tuple[int, int]) -> np.ndarray:
    """The image in a file, uint8 (*size, 3)."""
    if file.suffix.lower() not in (*pm.media.TIFFS, ".npy"):
        return pm.media.image(file, size)
    found = pm.media.pixels(file)
    if found.dtype != np.uint8 or found.shape[2] not in (1, 3):
        raise pm.DataError(
            f"{file} holds {found.dtype} of {found.shape[2]} channels; expected 8-bit grey or colors, as in "
            "the first file of its column"
        )
    return pm.media.scaled(found, size)


def _checked_frames(path: Path, frames: Iterator[np.ndarray], reading: Reading) -> Iterator[np.ndarray]:
    for frame in frames:
        yield _in_range(path, frame, reading)


def numbered(folder: Path) -> list[Path]:
    """Images of one folder, whose names differ in their last number."""
    shown = [p.name for p in folder.iterdir() if not p.name.startswith(".")]
    names = sorted(name for name in shown if name.lower().endswith(IMAGES))
    if not names:
        raise pm.DataError(f"{folder} holds no image")
    pattern = re.sub(r"\d+(?=\D*$)", "*", names[0], count=1)
    if unexpected := [name for name in names if re.sub(r"\d+(?=\D*$)", "*", name, count=1) != pattern]:
        raise pm.DataError(f"{folder}: {unexpected[0]} is not named like {pattern}, as {names[0]} is")
    return list(pm.media.image_files(folder, pattern).values())


# --- arrays -------------------------------------------------------------------------------------------------


def recording(path: Path, reading: Reading) -> np.ndarray:
    """A vector (D,) or a sequence (C, T), float32, cut or padded to the modality's length."""
    array = numbers(path, reading.variable, reading.columns)
    if reading.kind == "vector":
        return array.reshape(-1) if array.size == max(array.shape) else array
    if array.ndim == 1:
        array = array[:, None] if reading.time_axis == 0 else array[None]
    array = array.T if reading.time_axis == 0 else array
    channels, length = reading.shape
    if len(array) != channels:
        raise pm.DataError(
            f"{path}: {pm.plural(len(array), 'channel')}; expected {channels} (time is axis "
            f"{reading.time_axis})"
        )
    if array.shape[1] > length and not reading.cut:
        raise pm.DataError(
            f"{path}: {array.shape[1]} time steps, more than the {length} of the files looked at",
            "set `length` in dataset.toml: longer recordings are cut to it, shorter ones padded with zeros",
        )
    return np.pad(array[:, :length], ((0, 0), (0, max(0, length - array.shape[1]))))


def numbers(path: Path, variable: str = "", columns: tuple[str, ...] = ()) -> np.ndarray:
    """The numbers of a file, float32 of one or two axes; a table gives (rows, columns).

    Raises DataError for other contents, and integers that float32 does not hold exactly.
    """
    suffix = path.suffix.lower()
    try:
        if suffix in TEXTS:
            array = _text_table(path, columns)
        elif suffix == ".parquet":
            array = _parquet(path, columns)
        elif suffix == ".npy":
            array = np.load(path, allow_pickle=False)
            if not isinstance(array, np.ndarray):
                raise ValueError("but an archive of several, as .npz")
        else:
            array = _named_array(path, suffix, variable)
    except Exception as error:  # a damaged file can raise almost any
        raise pm.DataError(f"{path} is not a {suffix} file of numbers: {error}") from error
    if array.ndim not in (1, 2) or array.dtype.kind not in "biuf":
        raise pm.DataError(f"{path}: {array.dtype} of {array.ndim} axes; expected numbers of one or two")
    with np.errstate(over="ignore", invalid="ignore"):
        kept = array.astype(np.float32)
    if array.dtype.kind in "iu" and (kept.astype(np.float64) != array.astype(np.float64)).any():
        raise pm.DataError(
            f"{path} holds integers up to {array.max()}, which 32-bit floats do not hold exactly",
            "store smaller numbers, such as differences from a constant",
        )
    return kept


def _text_table(path: Path, columns: tuple[str, ...]) -> np.ndarray:
    text = path.read_text(encoding="utf-8-sig")
    first = text.lstrip().partition("\n")[0]
    separator = next((mark for mark in (";", "\t", ",") if mark in first), None)
    lines = (
        [line.split() for line in text.splitlines()]
        if separator is None
        else list(csv.reader(io.StringIO(text), delimiter=separator))
    )
    lines = [[cell.strip() for cell in line] for line in lines if any(cell.strip() for cell in line)]
    if not lines:
        raise ValueError("it is empty")
    header = None if all(map(_is_number, lines[0])) else lines[0]
    names = header or [str(n) for n in range(len(lines[0]))]
    chosen = _chosen(names, columns, [n for n, cell in enumerate(lines[-1]) if _is_number(cell)])
    comma = separator == ";" and not any("." in cell for line in lines[1:3] for cell in line)
    body = lines[1:] if header else lines
    try:
        return np.array(
            [[float(line[n].replace(",", ".") if comma else line[n]) for n in chosen] for line in body]
        )
    except (ValueError, IndexError) as error:
        raise ValueError(f"a line lacks a number ({error})") from error


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True


def _parquet(path: Path, columns: tuple[str, ...]) -> np.ndarray:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error
    real = [
        n
        for n, field in enumerate(table.schema)
        if pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
    ]
    chosen = _chosen(table.column_names, columns, real)
    return np.stack([table.column(n).to_numpy() for n in chosen], 1)


def _chosen(names: list[str], columns: tuple[str, ...], usable: list[int]) -> list[int]:
    """Numbers of the columns to read: those named, else all of numbers but the time."""
    if columns:
        if absent := [name for name in columns if name not in names]:
            raise ValueError(f"it has no column {absent[0]!r}; its columns: {', '.join(names)}")
        return [names.index(name) for name in columns]
    found = [n for n in usable if not re.fullmatch(r"(?i)(time|t|timestamps?)([ _(\[].*)?", names[n])]
    if not found:
        raise ValueError(f"no column of numbers among {', '.join(names)}")
    return found


def _named_array(path: Path, suffix: str, variable: str) -> np.ndarray:
    if suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files if not variable or name == variable}
    else:
        from scipy.io import loadmat

        content = loadmat(path, variable_names=[variable] if variable else None)
        found = {
            name: value
            for name, value in content.items()
            if not name.startswith("__") and isinstance(value, np.ndarray) and value.dtype.kind in "biuf"
        }
    if len(found) != 1:
        named = ", ".join(found) or "none"
        raise ValueError(f"it holds the arrays {named}; name one with `variable` in dataset.toml")
    (array,) = found.values()
    return np.atleast_1d(np.squeeze(array)) if array.ndim > 2 else array


def _in_range(path: Path, array: np.ndarray, reading: Reading) -> np.ndarray:
    if reading.range is not None and array.size:
        low, high = reading.range
        if not (array.min() >= low and array.max() <= high):
            raise pm.DataError(
                f"{path} holds {array.min():g} to {array.max():g} {reading.unit}; `range` says {low:g} to "
                f"{high:g}"
            )
    return array
