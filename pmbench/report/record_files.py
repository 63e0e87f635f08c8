"""Files of records: one JSON file each, written atomically and read with care."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..errors import RecordError
from ..files import write_text
from .record import SCHEMA_VERSION, Record

LARGEST_FILE = 1 << 24
"""Bytes that the file of a record may have."""


def to_json(record: Record) -> str:
    """JSON text of a record; equal for equal records."""
    return layout(record.model_dump(mode="json"))


def layout(content: Any) -> str:
    """JSON as the files of records have it."""
    return json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_record(path: Path) -> Record:
    """The record in a file; raises RecordError naming the file and its fault."""
    try:
        facts = os.stat(path)
        if not stat.S_ISREG(facts.st_mode):
            raise RecordError(f"{path}: not a regular file", "a folder of records may hold only JSON files")
        if facts.st_size > LARGEST_FILE:
            raise RecordError(
                f"{path}: {facts.st_size:,} bytes; a record has at most {LARGEST_FILE:,}",
                "a folder of records may hold only files written by `pmbench run`",
            )
        text = Path(path).read_text(encoding="utf-8")
        content = json.loads(text)
    except OSError as error:
        raise RecordError(
            f"{path}: cannot be read: {error.strerror or error}", "check path and permissions"
        ) from error
    except (ValueError, RecursionError) as error:
        raise RecordError(
            f"{path}: not JSON: {error}; expected one record",
            "the file is damaged: restore it, or run the cell again",
        ) from error
    if not isinstance(content, dict) or "schema_version" not in content:
        raise RecordError(
            f"{path}: not a record: it has no schema_version; expected {SCHEMA_VERSION}",
            "a folder of records may hold only JSON files written by `pmbench run`",
        )
    if content["schema_version"] in (1, 2):  # these said of themselves how far they were verified
        content.pop("verification", None)
        text = json.dumps({**content, "schema_version": SCHEMA_VERSION})
    elif content["schema_version"] != SCHEMA_VERSION:
        raise RecordError(
            f"{path}: schema_version is {content['schema_version']!r}, "
            f"this pmbench reads 1 to {SCHEMA_VERSION}",
            "read it with the pmbench that wrote it, or run the cell again",
        )
    try:
        return Record.model_validate_json(text)
    except ValidationError as error:
        raise RecordError(
            f"{path}: not a valid record: {summary(error)}",
            "records are never edited by hand: run the cell again",
        ) from error


def summary(error: ValidationError) -> str:
    """The first three faults of a document that is not valid."""
    parts = []
    for problem in error.errors(include_url=False, include_context=False)[:3]:
        field = ".".join(map(str, problem["loc"])) or "record"
        found = repr(problem["input"])
        parts.append(f"{field}: {problem['msg']}" + (f", found {found}" if len(found) <= 60 else ""))
    more = error.error_count() - len(parts)
    return "; ".join(parts) + (f"; and {more} more" if more else "")


def write_record(record: Record, path: Path) -> None:
    """Writes a record atomically; raises StoreError."""
    write_text(Path(path), to_json(record))


def record_paths(folder: Path) -> list[Path]:
    """All `*.json` files below a folder, and what else has such a name, sorted by their parts."""
    found = [
        [*Path(place).parts, name]
        for place, folders, files in os.walk(folder)
        for name in (*folders, *files)
        if name.endswith(".json")
    ]
    return [Path(*parts) for parts in sorted(found)]


def read_records(folder: Path) -> tuple[list[Record], list[RecordError]]:
    """The records in all `*.json` files below a folder, by path, and the errors of invalid files."""
    found, problems = read_files(folder)
    return list(found.values()), problems


def read_files(folder: Path) -> tuple[dict[Path, Record], list[RecordError]]:
    """As `read_records`, with the file of each record."""
    records, problems = {}, []
    for path in record_paths(folder):
        try:
            records[path] = read_record(path)
        except RecordError as problem:
            problems.append(problem)
    return records, problems
