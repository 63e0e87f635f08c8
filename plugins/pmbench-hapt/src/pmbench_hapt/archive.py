"""Reader of the original UCI archive, zipped or unpacked: text files of signals and a table of bouts."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

import pmbench as pm

from .windows import Recording

_SIGNAL = re.compile(r"(acc|gyro)_exp(\d+)_user(\d+)\.txt")
_LAYOUT = "RawData/labels.txt and RawData/acc_exp01_user01.txt ... gyro_exp61_user30.txt"

Files = Mapping[str, Callable[[], bytes]]


def recordings(source: Path) -> list[Recording]:
    """The recordings of the archive at `source`, in order of user and experiment."""
    try:
        if source.is_dir():
            return _recordings(source, _folder(source))
        with zipfile.ZipFile(source) as archive:
            return _recordings(source, _zipped(source, archive))
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise pm.DataError(f"{source} cannot be read: {error}", "get the archive again") from error


def _folder(source: Path) -> Files:
    for folder in (source, source / "RawData", source / "HAPT Data Set" / "RawData"):
        if (folder / "labels.txt").is_file():
            return {path.name: path.read_bytes for path in folder.iterdir() if path.suffix == ".txt"}
    raise pm.DataError(
        f"{source} is not the HAPT archive: it has no RawData/labels.txt", f"expected {_LAYOUT}"
    )


def _zipped(source: Path, archive: zipfile.ZipFile, depth: int = 0) -> Files:
    names = [name for name in archive.namelist() if "__MACOSX" not in name]
    for name in names:
        if re.search(r"(^|/)RawData/labels\.txt$", name):
            folder = name.removesuffix("labels.txt")
            return {n.removeprefix(folder): partial(archive.read, n) for n in names if n.startswith(folder)}
    for name in names:
        if name.endswith(".zip") and depth == 0:  # UCI wraps some archives in another one
            return _zipped(source, zipfile.ZipFile(BytesIO(archive.read(name))), depth + 1)
    raise pm.DataError(
        f"{source} is not the HAPT archive: it has no RawData/labels.txt", f"expected {_LAYOUT}"
    )


def _recordings(source: Path, files: Files) -> list[Recording]:
    sensors: dict[tuple[int, int], dict[str, str]] = {}  # (user, experiment) -> sensor -> file
    for name in files:
        if match := _SIGNAL.fullmatch(name):
            sensors.setdefault((int(match[3]), int(match[2])), {})[match[1]] = name
    bouts = _table(files, "labels.txt", 5, np.int64)
    strangers = {(int(user), int(exp)) for exp, user in bouts[:, :2]} - set(sensors)
    if strangers:
        user, exp = min(strangers)
        raise pm.DataError(
            f"{source}: labels.txt names experiment {exp} of user {user}, which has no signals",
            f"expected {_LAYOUT}",
        )
    found: list[Recording] = []
    for (user, exp), names in sorted(sensors.items()):
        if len(names) < 2:
            (only,) = names.values()
            raise pm.DataError(
                f"{source}: {only} has no counterpart of the other sensor", f"expected {_LAYOUT}"
            )
        acc, gyro = (_table(files, names[sensor], 3, np.float64) for sensor in ("acc", "gyro"))
        if len(acc) != len(gyro):
            raise pm.DataError(
                f"{source}: {names['acc']} has {len(acc)} samples, {names['gyro']} {len(gyro)}"
            )
        labels = np.full(len(acc), -1, np.int64)
        for _, _, activity, start, end in bouts[(bouts[:, 0] == exp) & (bouts[:, 1] == user)]:
            if not (1 <= activity <= 12 and 0 <= start <= end <= len(acc)):
                raise pm.DataError(
                    f"{source}: labels.txt gives activity {activity} from {start} to {end} for experiment "
                    f"{exp}, which has {len(acc)} samples"
                )
            labels[start : end + 1] = activity  # counted from 0, `end` included
        index = sum(r.user == user for r in found)
        found.append(Recording(user, index, np.hstack([acc, gyro]).astype(np.float32), labels))
    return found


def _table(files: Files, name: str, columns: int, dtype: Any) -> np.ndarray:
    """(rows, columns) of a text file of numbers."""
    try:
        table = np.loadtxt(BytesIO(files[name]()), dtype=dtype, ndmin=2)
    except ValueError as error:
        raise pm.DataError(f"{name} is damaged: {error}", "get the archive again") from error
    if table.shape[1] != columns or not len(table):
        raise pm.DataError(
            f"{name} has {table.shape[1]} columns and {len(table)} rows; expected {columns} columns"
        )
    return table
