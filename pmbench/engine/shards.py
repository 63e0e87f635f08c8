"""Reading the files of an official form in parallel, a few samples at a time; what is read stays read."""

from __future__ import annotations

import dataclasses
import functools
import json
import multiprocessing
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..contracts.samples import Files
from ..contracts.setting import Modality
from ..errors import DataError, PluginError, PmbenchError
from ..files import explain, write_atomic, write_json
from .frames import Writer
from .identity import code_digest, digest

SAMPLES = 32
"""Samples of one shard: what an interrupted preparation may lose, for each process."""
_T = TypeVar("_T")


@dataclass(frozen=True)
class Problem:
    """A file that could not be read: position of its sample in the part, and why."""

    part: str
    modality: str
    sample: int
    reason: str


@dataclass(frozen=True)
class Shard:
    """Some samples of one modality of one part, from `first` on, to be read into the file `path`."""

    path: Path
    part: str
    modality: Modality
    first: int
    files: Files
    codec: str

    @property
    def report(self) -> Path:
        return self.path.with_suffix(".problems.json")

    def problems(self) -> list[Problem]:
        return [Problem(**problem) for problem in json.loads(self.report.read_text(encoding="utf-8"))]

    def done(self) -> bool:
        """Whether it is read, without problems: those are tried again, for the files may have been mended."""
        return self.path.exists() and self.report.exists() and not self.problems()


def stored_as_frames(modality: Modality, files: Files) -> bool:
    return modality.kind in ("clip", "image") and not files.rows


def cut(folder: Path, part: str, modality: Modality, files: Files, codec: str) -> list[Shard]:
    """One modality of one part as shards. Their names are digests of what goes in."""
    frames = stored_as_frames(modality, files)
    found = []
    for first in range(0, len(files.items), SAMPLES):
        items = files.items[first : first + SAMPLES]
        told = [
            part, modality.name, modality.kind, modality.shape, codec, _told(files.load), _told(files.rate),
            [_told(item) for item in items],
        ]  # fmt: skip
        name = f"{part}-{modality.name}-{first:06d}-{digest(told)[:16]}{'.frames' if frames else '.npy'}"
        found.append(
            Shard(folder / name, part, modality, first, dataclasses.replace(files, items=items), codec)
        )
    return found


def _told(value: Any) -> Any:
    """A value in words that are the same in every process; functions with the digest of their code."""
    if isinstance(value, functools.partial):
        return [_told(value.func), [_told(v) for v in value.args], _told(dict(value.keywords))]
    if callable(value):
        return [value.__module__, value.__qualname__, code_digest(value.__module__)]
    if isinstance(value, Path):
        try:
            stat = value.stat()
        except OSError:
            return str(value)
        return [str(value), stat.st_size, stat.st_mtime_ns]
    if isinstance(value, list | tuple):
        return [_told(v) for v in value]
    if isinstance(value, dict):
        return {str(k): _told(v) for k, v in sorted(value.items())}
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)


def read_all(shards: Sequence[Shard], workers: int, report: Callable[[Shard], None]) -> list[Problem]:
    """Reads what is not read yet in `workers` processes (0: in this one), calling `report` for each shard."""
    waiting = []
    for shard in shards:
        report(shard) if shard.done() else waiting.append(shard)
    if workers == 0 or len(waiting) < 2:
        for shard in waiting:
            read(shard)
            report(shard)
    else:
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(min(workers, len(waiting)), context, _quiet)
        try:
            futures: dict[Future[None], Shard] = {pool.submit(read, shard): shard for shard in waiting}
            for future in as_completed(futures):
                future.result()
                report(futures[future])
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return [problem for shard in shards for problem in shard.problems()]


def _quiet() -> None:
    """Ctrl-C is for the parent, which lets its processes finish the shard they are at."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def read(shard: Shard) -> None:
    """Reads one shard; files that cannot be read are noted, their samples lack the modality."""
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
            raise DataError(f"{item}: it holds no frame")
        return taken, files.rate(item) if files.rate else 0.0

    with path.open("wb") as file:
        writer = Writer(file, shard.codec)
        for sample in range(len(files.items)):
            writer.add(*(_taken(shard, sample, take, noted) or ([], 0.0)))
        writer.close()


def _rows(shard: Shard, path: Path, noted: Callable[[int, str], None]) -> None:
    files, shape = shard.files, shard.modality.shape

    def take(item: Any) -> np.ndarray:
        row = np.asarray(files.load(item), np.float32)
        if row.shape != shape:
            raise DataError(f"{item}: shape {row.shape}; expected {shape}")
        if not np.isfinite(row).all():
            raise DataError(f"{item}: not all numbers are finite")
        return row

    rows = np.full((len(files.items), *shape), np.nan, np.float32)
    for sample in range(len(rows)):
        row = _taken(shard, sample, take, noted)
        if row is not None:
            rows[sample] = row
    with path.open("wb") as file:
        np.save(file, rows, allow_pickle=False)


def _taken(
    shard: Shard, sample: int, take: Callable[[Any], _T], noted: Callable[[int, str], None]
) -> _T | None:
    """What `take` makes of a sample's item; None where there is none, or where it cannot be read."""
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
        load = getattr(shard.files.load, "func", shard.files.load)
        raise PluginError(
            f"{load.__module__}.{load.__qualname__} raised {type(error).__name__} at "
            f"{shard.modality.name!r} of {item}: {error}",
            "this is a defect of the data set plugin: a file that cannot be read is a DataError",
        ) from error
