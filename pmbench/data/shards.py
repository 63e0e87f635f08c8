"""Shards: the files of an official form, read in parallel a few samples at a time, and kept for resuming."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import multiprocessing
import os
import pkgutil
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .. import media
from ..contracts.modality import Modality
from ..contracts.samples import Files
from ..errors import DataError, PluginError, PmbenchError, StoreError
from ..files import explain, write_atomic, write_json
from ..isolation.forkserver import interrupts_delayed
from ..processes import leave_with_parent
from ..store.keys import digest
from ..store.source import module_digest
from ..tracebacks import error_text
from .frames import Frames, Writer

SAMPLES = 32
"""Samples per shard, which bounds the loss of each process when a preparation is interrupted."""
_T = TypeVar("_T")


@dataclass(frozen=True)
class Problem:
    """A file that cannot be read: part, modality, position of its sample in the part, and reason."""

    part: str
    modality: str
    sample: int
    reason: str


@dataclass(frozen=True)
class Shard:
    """Samples of one modality and part, from position `first` on, to be read into the file `path`.

    `reused` (one for each sample, or empty) are the file of an earlier prepared form that holds the sample
    and its position there, or None.
    """

    path: Path
    part: str
    modality: Modality
    first: int
    files: Files
    codec: str
    reused: tuple[tuple[Path, int] | None, ...] = ()

    @property
    def report(self) -> Path:
        return self.path.with_suffix(".problems.json")

    def problems(self) -> list[Problem]:
        return [Problem(**problem) for problem in json.loads(self.report.read_text(encoding="utf-8"))]

    def done(self) -> bool:
        """Whether it is read without problems; files with problems are read again, in case of a repair."""
        return self.path.exists() and self.report.exists() and not self.problems()


def stored_as_frames(modality: Modality, files: Files) -> bool:
    return modality.kind in ("clip", "image") and not files.rows


def reader_digest(files: Files, codec: str) -> str:
    """Digest of what turns a file into a stored sample."""
    return digest([stable_repr(files.load), stable_repr(files.rate), files.rows, codec, _own_code()])


def cut(
    folder: Path,
    part: str,
    modality: Modality,
    files: Files,
    codec: str,
    reused: Sequence[tuple[Path, int] | None] = (),
) -> list[Shard]:
    """The shards of one modality and part; their names hold a digest of items, readers and codec."""
    frames = stored_as_frames(modality, files)
    codec = "raw" if files.lossless else codec
    found = []
    for first in range(0, len(files.items), SAMPLES):
        items = files.items[first : first + SAMPLES]
        identity = [
            *(part, modality.name, modality.kind, modality.shape, codec, _own_code()),
            *(stable_repr(value) for value in (files.load, files.rate, list(items))),
        ]
        name = f"{part}-{modality.name}-{first:06d}-{digest(identity)[:16]}{'.arrow' if frames else '.npy'}"
        mine = dataclasses.replace(files, items=items)
        earlier = tuple(reused[first : first + SAMPLES])
        found.append(Shard(folder / name, part, modality, first, mine, codec, earlier))
    return found


@functools.cache
def _own_code() -> list[str]:
    """Digests of the modules that write shards, and of the readers that `load` functions call."""
    readers = [module.name for module in pkgutil.iter_modules(media.__path__, f"{media.__name__}.")]
    return [module_digest(name) for name in (__name__, Writer.__module__, *readers)]


def stable_repr(value: Any) -> Any:
    """JSON values that identify `value` and are equal in every process.

    A function is identified by its module's digest, a file by its size and modification time, a folder by
    those of its entries, an array by the digest of its bytes.
    """
    recurse = stable_repr
    if isinstance(value, functools.partial):
        return [recurse(value.func), [recurse(v) for v in value.args], recurse(dict(value.keywords))]
    if callable(value):
        return [value.__module__, value.__qualname__, module_digest(value.__module__)]
    if isinstance(value, Path):
        try:
            stat = value.stat()
            entries = sorted(_entries(value)) if value.is_dir() else []
        except OSError:
            return str(value)
        return [str(value), stat.st_size, stat.st_mtime_ns, entries]
    if isinstance(value, np.ndarray):
        return [str(value.dtype), value.shape, hashlib.sha256(value.tobytes()).hexdigest()]
    if is_dataclass(value):
        return [type(value).__qualname__, *(recurse(getattr(value, field.name)) for field in fields(value))]
    if isinstance(value, list | tuple):
        return [recurse(v) for v in value]
    if isinstance(value, dict):
        return {str(k): recurse(v) for k, v in sorted(value.items())}
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)


def _entries(folder: Path) -> list[list[Any]]:
    with os.scandir(folder) as entries:
        return [[e.name, e.stat().st_size, e.stat().st_mtime_ns] for e in entries]


def read_all(shards: Sequence[Shard], workers: int, report: Callable[[Shard], None]) -> list[Problem]:
    """Problems of all shards, after those not done are read in `workers` processes (0: in this one).

    Calls `report` for each finished shard. Raises StoreError if a process is killed.
    """
    waiting = []
    for shard in shards:
        report(shard) if shard.done() else waiting.append(shard)
    if workers == 0 or len(waiting) < 2:
        for shard in waiting:
            read(shard)
            report(shard)
    else:
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(min(workers, len(waiting)), context, leave_with_parent)
        try:
            with interrupts_delayed():  # this process handles them after the current shards
                futures: dict[Future[None], Shard] = {pool.submit(read, shard): shard for shard in waiting}
            for future in as_completed(futures):
                future.result()
                report(futures[future])
        except BrokenProcessPool as error:
            raise StoreError(
                f"one of the {min(workers, len(waiting))} processes that read files was killed",
                "probably out of memory; run the same command, which resumes, with a smaller --workers",
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return [problem for shard in shards for problem in shard.problems()]


def read(shard: Shard) -> None:
    """Reads one shard; samples whose files cannot be read lack the modality and are listed as problems."""
    problems: list[Problem] = []

    def noted(sample: int, reason: str) -> None:
        problems.append(Problem(shard.part, shard.modality.name, shard.first + sample, reason))

    try:
        write = _frames if stored_as_frames(shard.modality, shard.files) else _rows
        write_atomic(shard.path, lambda path: write(shard, path, noted))
        write_json(shard.report, [vars(problem) for problem in problems])
    except OSError as error:
        raise explain(error, shard.path) from error


def _frames(shard: Shard, path: Path, noted: Callable[[int, str], None]) -> None:
    files = shard.files

    def take(item: Any) -> tuple[list[np.ndarray], float]:
        taken = list(files.load(item))
        if not taken:
            raise DataError(f"{item} has no frames")
        return taken, files.rate(item) if files.rate else 0.0

    opened = functools.cache(Frames)
    with path.open("wb") as file:
        writer = Writer(file, shard.codec)
        for sample in range(len(files.items)):
            if (earlier := _earlier(shard, sample)) and writer.copy(opened(earlier[0]), earlier[1]):
                continue
            frames, rate = _taken(shard, sample, take, noted) or ([], 0.0)
            try:
                _fit(frames, shard.modality)
                writer.add(frames, rate)
            except DataError as error:
                where = f"{shard.modality.name!r} of {files.items[sample]}"
                raise _mistake(files, f"gave frames that cannot be stored at {where}: {error}") from error
        writer.close()


def _earlier(shard: Shard, sample: int) -> tuple[Path, int] | None:
    return shard.reused[sample] if shard.reused else None


def _fit(frames: Sequence[np.ndarray], modality: Modality) -> None:
    """Raises DataError unless the first frame is (H, W, C), not smaller than the modality's shape."""
    least = (*modality.shape[-2:], modality.channels)
    for found in (frame.shape for frame in frames[:1]):
        if len(found) != 3 or found[0] < least[0] or found[1] < least[1] or found[2] != least[2]:
            raise DataError(f"frames of shape {found}; expected (H, W, C) of at least {least}")


def _rows(shard: Shard, path: Path, noted: Callable[[int, str], None]) -> None:
    files, shape = shard.files, shard.modality.shape

    def take(item: Any) -> np.ndarray:
        row = np.asarray(files.load(item), np.float32)
        if row.shape != shape:
            raise DataError(f"{item}: shape {row.shape}; expected {shape}")
        if not np.isfinite(row).all():
            raise DataError(f"{item}: expected finite numbers")
        return row

    rows = np.full((len(files.items), *shape), np.nan, np.float32)
    for sample in range(len(rows)):
        row = None
        if earlier := _earlier(shard, sample):
            row = np.load(earlier[0], mmap_mode="r", allow_pickle=False)[earlier[1]]
        if row is None or np.isnan(row).any():
            row = _taken(shard, sample, take, noted)
        if row is not None:
            rows[sample] = row
    with path.open("wb") as file:
        np.save(file, rows, allow_pickle=False)


def _taken(
    shard: Shard, sample: int, take: Callable[[Any], _T], noted: Callable[[int, str], None]
) -> _T | None:
    """`take(item)` for a sample's item; None if the item is None or cannot be read.

    Raises PluginError for exceptions other than DataError and OSError.
    """
    item = shard.files.items[sample]
    if item is None:
        return None
    try:
        return take(item)
    except (DataError, OSError) as error:
        noted(sample, str(error))
        return None
    except PmbenchError:
        raise
    except Exception as error:
        where = f"{shard.modality.name!r} of {item}"
        raise _mistake(shard.files, f"raised {error_text(error)}, at {where}") from error


def _mistake(files: Files, did: str) -> PluginError:
    load = getattr(files.load, "func", files.load)
    return PluginError(
        f"{load.__module__}.{load.__qualname__} {did}",
        "this is a defect of the data set plugin: raise DataError for a file that cannot be read",
    )


def join_rows(path: Path, shape: tuple[int, ...], shards: Sequence[Shard]) -> int:
    """Writes the rows of all shards as one array; returns the number of samples without a row."""
    missing = 0
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for shard in shards:
            rows = np.load(shard.path, allow_pickle=False)
            missing += int(np.isnan(rows.reshape(len(rows), -1)[:, 0]).sum())
            rows.tofile(file)
    return missing


def join_frames(path: Path, shards: Sequence[Shard]) -> int:
    """Writes the frames of all shards as one file; returns the number of samples without a frame."""
    missing = 0
    with path.open("wb") as file:
        writer = Writer(file, shards[0].codec if shards else "jpeg")
        for shard in shards:
            frames = Frames(shard.path)
            missing += int((frames.counts == 0).sum())
            try:
                writer.extend(frames)
            except DataError as error:
                raise PluginError(
                    f"{shard.modality.name!r} of part {shard.part!r}, from sample {shard.first} on: "
                    f"{error.message}",
                    "this is a defect of the data set plugin: all frames of a modality must have one size",
                ) from error
        writer.close()
    return missing
