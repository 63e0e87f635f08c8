"""Records of a folder with their boards, which are kept from one command to the next.

A board follows from its records alone. It is kept with them in the user's cache, under a digest of their
files and of the code that computes it, so that after one new record one board is computed and one file is
read. The cache is trusted as Python's own bytecode is: `pmbench leaderboard --check` does without.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import pickle
import platform
import shutil
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RecordError, StoreError
from ..files import write_atomic

if TYPE_CHECKING:
    from ..contracts.metric import Metric
    from .boards import Board
    from .record import Record

FRESH_NS = 2_000_000_000
"""A file that was written so recently may be written again without another time."""
UNUSED_S = 30 * 86_400
"""Boards of a folder of records that nobody has drawn for so long are removed."""
SOURCES = ("report", "metrics", "contracts")
LIBRARIES = ("numpy", "scipy", "pydantic")


@dataclass
class Shelf:
    """The records below a folder by their files, the errors of invalid files, and the boards."""

    records: dict[Path, Record]
    problems: list[RecordError]
    boards: list[Board]


@dataclass
class _Index:
    """What is kept of a folder. `files`: path -> [time of change in ns, size, digest]; `boards`: digest of a
    board's records -> their files' digests."""

    files: dict[str, list[Any]] = field(default_factory=dict)
    boards: dict[str, list[str]] = field(default_factory=dict)


def read_shelf(folder: Path, cache: Path | None) -> Shelf:
    """Records and boards of a folder, from `cache` as far as their files and the code are unchanged.

    Without a cache all is read and computed anew.
    """
    from .boards import board_of, grouped
    from .record_files import read_record, record_paths

    place = cache / _digest([os.path.realpath(folder), _code()])[:32] if cache else None
    index = _read_index(place) if place else _Index()
    files = {path: _known(path, index.files.get(str(path))) for path in record_paths(folder)}
    current = {digest for _, _, digest in files.values()}
    kept = {
        name: found
        for name, digests in index.boards.items()
        if place and not current.isdisjoint(digests) and (found := _load(place / name)) is not None
    }
    by_digest = {digest: record for records, _ in kept.values() for digest, record in records.items()}

    shelf, digest_of = Shelf({}, [], []), {}
    for path, (_, _, digest) in files.items():
        try:
            record = by_digest.get(digest) or read_record(path)
        except RecordError as problem:
            shelf.problems.append(problem)
            continue
        shelf.records[path] = by_digest[digest] = record
        digest_of[id(record)] = digest

    groups = grouped(record for record in shelf.records.values() if not record.cell.is_demo)
    members = [{digest_of[id(record)]: record for record in group} for group in groups]
    names = [_digest(sorted(digest_of[id(record)] for record in group)) for group in groups]
    missing = [n for n, name in enumerate(names) if name not in kept]
    made = {n: board_of(groups[n]) for n in missing}
    shelf.boards = [made[n] if n in made else kept[name][1] for n, name in enumerate(names)]
    if cache and place and (made or index.boards.keys() != set(names)):
        with contextlib.suppress(StoreError, OSError):
            for n, board in made.items():
                _write(place / names[n], _pack((members[n], board)))
            states = {str(path): state for path, state in files.items() if state[0]}
            boards = {name: sorted(of) for name, of in zip(names, members, strict=True)}
            _write(place / "index.json", json.dumps([states, boards]).encode())
            _tidy(cache, place, {"index.json", *names})
    return shelf


def _known(path: Path, before: list[Any] | None) -> list[Any]:
    """[time of change in ns, size, digest] of a file, the time 0 if it may change without another time.

    The digest of what cannot be a record is its path: `read_record` says what is wrong with it.
    """
    from .record_files import LARGEST_FILE

    try:
        stat = os.stat(path)
        state = [stat.st_mtime_ns, stat.st_size]
        if before is not None and before[:2] == state:
            return before
        if not path.is_file() or stat.st_size > LARGEST_FILE:
            return [0, 0, str(path)]
        fresh = stat.st_mtime_ns > time.time_ns() - FRESH_NS
        return [0 if fresh else state[0], state[1], hashlib.sha256(path.read_bytes()).hexdigest()]
    except (OSError, ValueError):
        return [0, 0, str(path)]


def _pack(value: Any) -> bytes:
    """A pickle in which built-in metrics, which hold functions, stand by name."""
    from ..contracts.metric import Metric
    from ..metrics.builtin import METRICS

    def reduced(metric: Metric) -> Any:
        known = METRICS.get(metric.name) is metric
        return (_builtin, (metric.name,)) if known else metric.__reduce_ex__(pickle.HIGHEST_PROTOCOL)

    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, pickle.HIGHEST_PROTOCOL)
    pickler.dispatch_table = {Metric: reduced}
    pickler.dump(value)
    return buffer.getvalue()


def _builtin(name: str) -> Metric:
    from ..metrics.builtin import METRICS

    return METRICS[name]


def _code() -> list[Any]:
    """What a board follows from besides its records: sources and libraries."""
    package = Path(__file__).parents[1]
    rooms = [path for name in SOURCES for path in sorted((package / name).rglob("*.py"))]
    sources = [*sorted(package.glob("*.py")), *rooms]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sources]
    return [platform.python_version(), [version(name) for name in LIBRARIES], digests]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _read_index(place: Path) -> _Index:
    try:
        return _Index(*json.loads((place / "index.json").read_bytes()))
    except (OSError, ValueError, TypeError):
        return _Index()


def _load(path: Path) -> tuple[dict[str, Record], Board] | None:
    """Records by the digests of their files, and their board; None if the file is missing or damaged."""
    try:
        records, board = pickle.loads(path.read_bytes())
    except Exception:  # of any kind: the bytes are damaged
        return None
    return records, board


def _write(path: Path, data: bytes) -> None:
    def write(temporary: Path) -> None:
        temporary.write_bytes(data)

    write_atomic(path, write, durable=False)


def _tidy(cache: Path, place: Path, used: set[str]) -> None:
    """Removes boards that are no more those of their folder, and folders that were long not used."""
    for path in place.iterdir():
        if path.name not in used:
            path.unlink()
    limit = time.time() - UNUSED_S
    for other in cache.iterdir():
        if other.stat().st_mtime < limit:
            shutil.rmtree(other, ignore_errors=True)
