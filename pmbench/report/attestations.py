"""Attestations: what a referee has found about records, in files of its own beside them.

How far a record was verified is never part of the record, whose author could claim it. An attestation names
a record by its SHA-256. No file is ever changed or deleted: a withdrawal is a new file with a
reason, and so is the note that a record is stale, made with code or data of before.
"""

from __future__ import annotations

import hashlib
import json
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from ..errors import RecordError, StoreError
from ..files import write_json
from .cell import StrictModel
from .fields import Name, Sha256, Text
from .record import Record
from .record_files import summary

Level = Literal["recompute", "reinfer", "retrain"]
Kind = Literal["verified", "withdrawn", "stale"]
LEVELS: tuple[Level, ...] = typing.get_args(Level)
"""From the weakest to the strongest."""
WORDS = {"recompute": "recomputed", "reinfer": "re-inferred", "retrain": "retrained"}
NONE = "none"
"""Status of what no referee has verified."""
LARGEST = 1 << 16
"""Bytes that the file of an attestation may have."""
Moment = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\+00:00$")]


class Machine(StrictModel):
    """Where the referee has run."""

    platform: Name
    python: Name
    torch: Name
    device: Name


class Attestation(StrictModel):
    """What `by`, a referee or maintainer, has found about one record.

    `kind`: "verified" at a `level`; "withdrawn" or "stale", for a `reason`. `referee`: version of pmbench.
    `nonce` has drawn the seed that was trained again; `trained` says whether this record was it.
    """

    schema_version: Literal[1] = 1
    record: Sha256
    kind: Kind
    level: Level | None = None
    reason: Text | None = None
    date: Moment
    by: Annotated[Name, Field(min_length=1)]
    referee: Name
    machine: Machine
    submission: Name | None = None
    nonce: Name | None = None
    trained: bool = False

    @model_validator(mode="after")
    def _complete(self) -> Attestation:
        if (self.kind == "verified") != (self.level is not None):
            raise ValueError("a level, if and only if the record was verified")
        if self.kind != "verified" and not self.reason:
            raise ValueError(f"a record that is {self.kind} needs a reason")
        return self

    @property
    def file(self) -> str:
        """Name of its file: no two attestations of one moment have the same."""
        moment = self.date.partition("+")[0].replace(":", "")
        return f"{self.record[:16]}-{self.level or self.kind}-{moment}.json"


@dataclass(frozen=True)
class Status:
    """How far a record is verified. `level` is the strongest one that was found."""

    level: Level | None = None
    withdrawn: str = ""
    stale: str = ""

    @property
    def text(self) -> str:
        """`re-inferred`, `retrained, stale`, `withdrawn`, or `none`."""
        if self.withdrawn:
            return "withdrawn"
        words = [WORDS[self.level]] if self.level else []
        return ", ".join([*words, *(["stale"] if self.stale else [])]) or NONE


@dataclass(frozen=True)
class Attestations:
    """Attestations by the digest of the record that they name."""

    by_record: Mapping[str, tuple[Attestation, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, found: Iterable[Attestation]) -> Attestations:
        by_record: dict[str, list[Attestation]] = {}
        for one in found:
            by_record.setdefault(one.record, []).append(one)
        return cls({record: tuple(sorted(some, key=_order)) for record, some in by_record.items()})

    def __bool__(self) -> bool:
        return bool(self.by_record)

    def status(self, record: Record) -> Status:
        """The status of a record: a withdrawal lasts; what was stale and is verified later is not stale."""
        level: Level | None = None
        withdrawn = stale = ""
        for one in self.by_record.get(digest_of(record), ()):
            if one.kind == "withdrawn":
                withdrawn = one.reason or ""
            elif one.kind == "stale":
                stale = one.reason or ""
            else:
                stale = ""
                level = max(level or LEVELS[0], one.level or LEVELS[0], key=LEVELS.index)
        return Status(level, withdrawn, stale)

    def of_row(self, records: Iterable[Record]) -> Status:
        """The status of a row: the weakest level over its seeds; withdrawn or stale if one of them is."""
        found = [self.status(record) for record in records]
        levels = [status.level for status in found]
        weakest = min((level for level in levels if level), key=LEVELS.index, default=None)
        return Status(
            weakest if all(levels) else None,
            next((status.withdrawn for status in found if status.withdrawn), ""),
            next((status.stale for status in found if status.stale), ""),
        )


def _order(one: Attestation) -> tuple[str, str]:
    return one.date, one.kind


def digest_of(record: Record) -> str:
    """SHA-256 of a record: of its JSON with sorted keys, without blanks and without values that are defaults.

    Later versions of pmbench add fields with defaults, which changes the digest of no record.
    """
    content = record.model_dump(mode="json", exclude_defaults=True)
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def write_attestation(one: Attestation, folder: Path) -> Path:
    """Writes an attestation as a new file; raises StoreError if it is there already."""
    path = folder / one.file
    if path.exists():
        raise StoreError(f"{path} exists; attestations are never changed", "run the command again")
    write_json(path, one.model_dump(mode="json"))
    return path


def read_attestations(folder: Path) -> tuple[Attestations, list[RecordError]]:
    """The attestations in `*.json` files of a folder, and the errors of invalid files."""
    found, problems = [], []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(_read(path))
        except RecordError as problem:
            problems.append(problem)
    return Attestations.of(found), problems


def attested_in(folder: Path) -> tuple[Attestations | None, list[RecordError]]:
    """Attestations of a folder, and errors of invalid files; None if there is no file."""
    return read_attestations(folder) if any(folder.glob("*.json")) else (None, [])


def _read(path: Path) -> Attestation:
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            raise ValueError(f"not a file of at most {LARGEST:,} bytes")
        one = Attestation.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        reason = summary(error) if isinstance(error, ValidationError) else str(error)
        raise RecordError(
            f"{path}: not an attestation: {reason}", "`pmbench verify --attest` writes them"
        ) from error
    if path.name != one.file:
        raise RecordError(f"{path}: the name of this attestation is {one.file}", "files are never renamed")
    return one
