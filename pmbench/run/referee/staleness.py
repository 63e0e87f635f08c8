"""Which records are stale: today's plan of their cell has another key. Nothing is trained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ...errors import RecordError, UsageError
from ...report.record_files import read_files
from ...report.submission import Entry, Submission
from .case import Case, Unknown, Wrong
from .outcome import Problem


def of_records(folder: Path) -> Submission:
    """The records of a folder, such as those of the board, with neither statement nor results.

    Raises UsageError if there are none, RecordError if one cannot be read.
    """
    found, problems = read_files(folder)
    if problems:
        raise RecordError(problems[0].message, problems[0].hint)
    if not found:
        raise UsageError(f"{folder} holds no records", "give a folder of records")
    entries = (Entry(folder, path.relative_to(folder).as_posix(), record) for path, record in found.items())
    return Submission(folder, None, tuple(entries), ())


def stale(case: Case) -> Iterator[Problem]:
    """Records with a result that today's code or data would not give, each with the reason."""
    for entry in case.submission.done:
        info, planned = entry.record.cell, case.plans[entry.file]
        if isinstance(planned, Unknown):
            yield Problem(entry.file, str(planned), checked=False)
        elif isinstance(planned, Wrong):
            yield Problem(entry.file, f"today it cannot be planned: {planned}")
        elif planned.context.dataset.version != info.dataset_version:
            version = planned.context.dataset.version
            yield Problem(
                entry.file,
                f"made with version {info.dataset_version} of {info.dataset}; today's is {version}",
            )
        elif planned.identity != entry.record.cell_key:
            other = case.differs(entry) or "sources or data have changed"
            yield Problem(entry.file, f"today's plan has other stage keys: {other}")
