"""Submissions: a folder of records with their predictions and programs, and what its author states.

`submissions/<date>-<handle>/` holds `submission.toml`, `records/**/*.json`, `predictions/<SHA-256>.parquet`
and `programs/<SHA-256>.pt2`. Records name predictions and programs by their digests. Files of others are
read, so every one has a largest size, and links are never followed.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import stat
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from ..errors import RecordError
from ..files import write_text
from .attestations import digest_of
from .cell import StrictModel
from .fields import Name, Sha256, Text
from .record import Record
from .record_files import LARGEST_FILE, read_record, summary

FILE = "submission.toml"
RECORDS, PREDICTIONS, PROGRAMS = "records", "predictions", "programs"
GALLERY = ".gallery.parquet"
"""Ending of predictions for the training samples that retrieval looks in."""
MANDATED = 10
"""Seeds that a submission has, 0 to 9, unless it declares another number."""
LARGEST = {FILE: 1 << 16, RECORDS: LARGEST_FILE, PREDICTIONS: 1 << 28, PROGRAMS: 1 << 30}
"""Bytes that one file may have: 64 KiB, 16 MiB, 256 MiB, 1 GiB."""
MOST_FILES, LARGEST_FOLDER = 30_000, 1 << 33
"""Files of a submission, and bytes of all of them (8 GiB)."""

Handle = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,38}$")]
Date = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]


class Plugin(StrictModel):
    """A distribution whose code the records rest on. `source_sha256`: digest of its source."""

    distribution: Name
    version: Name
    source_sha256: Sha256
    where: Annotated[Text, Field(min_length=1)]


class DataSet(StrictModel):
    """A data set of the records, with the licence that it was used under."""

    dataset: Name
    version: Annotated[int, Field(ge=0, le=10**6)]
    licence: Text


class Statement(StrictModel):
    """What the author of a submission states. Every record row has the seeds 0 to `seeds` - 1.

    `licence` is that of records, predictions and programs; `data_terms`: on which terms the data was used.
    """

    schema_version: Literal[1]
    handle: Handle
    date: Date
    contact: Annotated[Text, Field(min_length=1)]
    licence: Annotated[Name, Field(min_length=1)]
    data_terms: Annotated[Text, Field(min_length=1)]
    seeds: Annotated[int, Field(ge=1, le=1000)]
    plugins: Annotated[list[Plugin], Field(max_length=100)] = []  # noqa: RUF012
    data: Annotated[list[DataSet], Field(min_length=1, max_length=1000)]

    @property
    def folder(self) -> str:
        """Name of the submission's folder."""
        return f"{self.date}-{self.handle}"


@dataclass(frozen=True)
class Entry:
    """A record of a submission. `file`: its path below the submission; `folder`: the submission."""

    folder: Path
    file: str
    record: Record

    @property
    def predictions(self) -> Path:
        assert self.record.digests is not None, "a finished cell has digests"
        return self.folder / PREDICTIONS / f"{self.record.digests.predictions}.parquet"

    @property
    def program(self) -> Path:
        assert self.record.digests is not None
        return self.folder / PROGRAMS / f"{self.record.digests.program}.pt2"

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the record, by which attestations name it."""
        return digest_of(self.record)


@dataclass(frozen=True)
class Submission:
    """A submission as it was read: files that are not as expected are in `problems`, (file, reason)."""

    folder: Path
    statement: Statement | None
    entries: tuple[Entry, ...]
    problems: tuple[tuple[str, str], ...]

    @property
    def done(self) -> list[Entry]:
        """Entries with a result."""
        return [entry for entry in self.entries if entry.record.status == "done"]


def write_statement(statement: Statement, folder: Path) -> None:
    """Writes `submission.toml` atomically; raises StoreError."""
    content = statement.model_dump()
    lines = [f"{name} = {_toml(value)}" for name, value in content.items() if not isinstance(value, list)]
    for name in ("plugins", "data"):
        for table in content[name]:
            lines += ["", f"[[{name}]]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
    write_text(folder / FILE, "\n".join(lines) + "\n")


def _toml(value: str | int) -> str:
    """A value of TOML: strings of JSON are strings of TOML."""
    return json.dumps(value, ensure_ascii=False)


def read_submission(folder: Path) -> Submission:
    """Reads statement and records of a submission; opens no other file, and raises no error of theirs."""
    problems: list[tuple[str, str]] = []
    files = _files(folder, problems)
    statement = None
    if FILE in files:
        try:
            statement = read_statement(folder / FILE)
        except RecordError as error:
            problems.append((FILE, error.message.removeprefix(f"{FILE}: ")))
    elif not any(file == FILE for file, _ in problems):
        problems.append((FILE, "is missing; `pmbench publish` writes it"))
    if statement is not None and statement.folder != folder.resolve().name:
        problems.append(
            (FILE, f"date and handle name the folder {statement.folder}, not {folder.resolve().name}")
        )
    entries = []
    for file in files:
        if not file.startswith(f"{RECORDS}/"):
            continue
        try:
            entries.append(Entry(folder, file, read_record(folder / file)))
        except RecordError as error:
            problems.append((file, error.message.removeprefix(f"{folder / file}: ")))
    if not any(entry.record.status == "done" for entry in entries):
        problems.append((RECORDS, "holds no record of a finished cell"))
    problems += _unexpected(files, entries)
    return Submission(folder, statement, tuple(entries), tuple(problems))


def read_statement(path: Path) -> Statement:
    """The statement in a file; raises RecordError."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        return Statement.model_validate(content)
    except (OSError, ValueError, RecursionError) as error:
        reason = summary(error) if isinstance(error, ValidationError) else f"not TOML: {error}"
        raise RecordError(f"{path.name}: {reason}", "`pmbench publish` writes it") from error


def _files(folder: Path, problems: list[tuple[str, str]]) -> list[str]:
    """Paths of the regular files of a submission that have a known place and a size that is allowed."""
    found: list[str] = []
    total = 0
    names = list(itertools.islice(_walk(folder), MOST_FILES + 1))
    if len(names) > MOST_FILES:
        problems.append((".", f"more than {MOST_FILES:,} files"))
    for name in sorted(names):
        facts = (folder / name).lstat()
        if not stat.S_ISREG(facts.st_mode):
            problems.append((name, "not a regular file; links, pipes and devices are refused"))
            continue
        place = _place(name)
        if place is None:
            problems.append((name, "has no place in a submission"))
            continue
        total += facts.st_size
        if facts.st_size > LARGEST[place]:
            problems.append((name, f"{facts.st_size:,} bytes; at most {LARGEST[place]:,} are allowed"))
        else:
            found.append(name)
    if total > LARGEST_FOLDER:
        problems.append((".", f"{total:,} bytes in all; at most {LARGEST_FOLDER:,} are allowed"))
    return found


def _walk(root: Path) -> Iterator[str]:
    """Paths below a folder of everything but folders themselves; links are not followed."""
    for base, folders, files in os.walk(root):
        links = [name for name in folders if Path(base, name).is_symlink()]
        yield from (Path(base, name).relative_to(root).as_posix() for name in (*files, *links))


_PLACES = {
    FILE: re.compile(re.escape(FILE)),
    RECORDS: re.compile(rf"{RECORDS}/([\w+.,=-]+/)*[\w+.,=-]+\.json", re.ASCII),
    PREDICTIONS: re.compile(rf"{PREDICTIONS}/[0-9a-f]{{64}}(\.gallery)?\.parquet"),
    PROGRAMS: re.compile(rf"{PROGRAMS}/[0-9a-f]{{64}}\.pt2"),
}


def _place(name: str) -> str | None:
    return next((place for place, pattern in _PLACES.items() if pattern.fullmatch(name)), None)


def _unexpected(files: list[str], entries: list[Entry]) -> Iterator[tuple[str, str]]:
    """Files that no record names, and files that a record names but that are missing."""
    named: dict[str, str] = {}
    for entry in entries:
        if entry.record.status == "done":
            for path in (entry.predictions, entry.program):
                named.setdefault(path.relative_to(entry.folder).as_posix(), entry.file)
    there = set(files)
    for name, by in named.items():
        if name not in there:
            yield by, f"{name} is missing"
    for name in files:
        if _place(name) in (PREDICTIONS, PROGRAMS) and name.replace(GALLERY, ".parquet") not in named:
            yield name, "no record names it"
