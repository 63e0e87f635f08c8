"""Checks of a submission's files, texts and dates. Level: recompute."""

from __future__ import annotations

import datetime
import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...files import file_digest
from ...report.fields import plain_text
from ...report.record import SCHEMA_VERSION
from ...report.record_files import layout
from ...report.submission import FILE, LARGEST
from .case import Case
from .outcome import Problem

_MARKUP = re.compile(r"<[A-Za-z/!?]|\]\(|&#?\w+;")
_FUTURE = datetime.timedelta(days=1)
"""Clocks and time zones may differ by this much."""


def files_have_their_place_and_size(case: Case) -> Iterator[Problem]:
    """Known files only, no links, no file too large, records and statement of their schemas."""
    for file, reason in case.submission.problems:
        yield Problem(file, reason)


def only_its_folder_is_touched(case: Case) -> Iterator[Problem]:
    """With a base commit: the change holds files below the submission alone."""
    if not case.base:
        return
    folder = case.submission.folder.resolve()
    try:
        root = Path(_git(folder, "rev-parse", "--show-toplevel").strip())
        changed = _git(root, "diff", "--name-only", "-z", f"{case.base}...HEAD", "--").split("\0")
        changed += _git(root, "ls-files", "--others", "--exclude-standard", "-z").split("\0")
    except (OSError, subprocess.SubprocessError) as error:
        yield Problem(".", f"git cannot compare with {case.base}: {error}", checked=False)
        return
    for name in sorted({name for name in changed if name}):
        if folder not in (root / name).parents:
            yield Problem(name, f"is changed, too; a submission changes files below {folder.name} alone")


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def records_are_as_written(case: Case) -> Iterator[Problem]:
    """Records have today's schema and the layout of `pmbench run`, with every name once."""
    for entry in case.submission.entries:
        text = (entry.folder / entry.file).read_text(encoding="utf-8")
        content = json.loads(text)
        if content["schema_version"] != SCHEMA_VERSION or layout(content) != text:
            yield Problem(
                entry.file, "not the text that pmbench writes for this record (other schema, or edited)"
            )


def texts_are_plain(case: Case) -> Iterator[Problem]:
    """No control characters, no characters that change the direction of others, no markup."""
    for entry in case.submission.entries:
        content = json.loads((entry.folder / entry.file).read_text(encoding="utf-8"))
        yield from (Problem(entry.file, reason) for reason in _texts(content))
    path = case.submission.folder / FILE
    if case.submission.statement is not None:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        yield from (Problem(FILE, reason) for reason in _texts(content))


def _texts(value: Any, place: str = "") -> Iterator[str]:
    """What is wrong with the texts of a document, with their places."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _texts(name, f"a name in {place or 'the document'}")
            yield from _texts(inner, f"{place}.{name}" if place else name)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts(inner, f"{place}.{number}")
    elif isinstance(value, str):
        if plain_text(value) != value:
            yield f"{place} holds control or direction characters"
        elif markup := _MARKUP.search(value):
            yield f"{place} holds markup ({markup[0]})"


def dates_are_possible(case: Case) -> Iterator[Problem]:
    """Records are not younger than their submission, and nothing is of the future."""
    today = datetime.datetime.now(datetime.UTC).date() + _FUTURE
    statement = case.submission.statement
    last = today
    if statement is not None:
        try:
            last = datetime.date.fromisoformat(statement.date)
        except ValueError:
            yield Problem(FILE, f"{statement.date} is no date")
        if last > today:
            yield Problem(FILE, f"{statement.date} is in the future")
        last = min(last, today) + _FUTURE
    for entry in case.submission.entries:
        try:
            made = datetime.date.fromisoformat(entry.record.provenance.date[:10])
        except ValueError:
            yield Problem(entry.file, f"{entry.record.provenance.date[:10]} is no date")
            continue
        if made > last:
            yield Problem(entry.file, f"dated {made}, after its submission")


def digests_are_those_of_the_files(case: Case) -> Iterator[Problem]:
    """Predictions and programs have the digests that their names and their records say."""
    seen: dict[Path, str] = {}
    for entry in case.submission.done:
        for path in (entry.predictions, entry.program):
            if path in seen or path.is_symlink() or not path.is_file():
                continue
            if path.stat().st_size > LARGEST[path.parent.name]:
                continue  # another check says so, and reads no byte of it
            seen[path] = file_digest(path)
            if seen[path] != path.stem:
                name = path.relative_to(entry.folder).as_posix()
                yield Problem(entry.file, f"{name} is another file: its SHA-256 is {seen[path][:12]}...")


CHECKS = (
    files_have_their_place_and_size,
    only_its_folder_is_touched,
    records_are_as_written,
    texts_are_plain,
    dates_are_possible,
    digests_are_those_of_the_files,
)
