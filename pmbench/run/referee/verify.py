"""Runs the levels of a referee over a submission, and writes attestations of what they found."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import platform
from collections.abc import Callable, Sequence
from pathlib import Path

from ... import __version__
from ...report.attestations import (
    Attestation,
    Attestations,
    Kind,
    Level,
    Machine,
    read_attestations,
    write_attestation,
)
from ...report.submission import Entry
from . import folder, outcomes, plans, programs, seeds
from .case import Case
from .outcome import LEVELS, Check, Problem, Report, Result, run
from .retrain import drawn, training_repeats_the_result

CHECKS: dict[Level, Sequence[Check]] = {
    "recompute": (*folder.CHECKS, *outcomes.CHECKS, *plans.CHECKS, *seeds.CHECKS),
    "reinfer": programs.CHECKS,
    "retrain": (training_repeats_the_result,),
}
"""The checks of each level. A level also has those of the levels before."""


def verify(case: Case, level: Level, started: Callable[[str], None] = lambda level: None) -> Report:
    """What the checks say up to a level; those of a level run if none before has refused anything.

    `started` is called with each level that begins.
    """
    results: list[Result] = []
    for one in LEVELS[: LEVELS.index(level) + 1]:
        if any(result.verdict == "refused" for result in results):
            break
        started(one)
        results += run(CHECKS[one], one, case)
    return Report(str(case.submission.folder), level, tuple(results), tuple(case.notes))


def attest(case: Case, report: Report, to: Path, by: str) -> list[Path]:
    """Writes an attestation of the level reached for each record with a result; returns the files."""
    if report.reached is None:
        return []
    trained = drawn(case) if report.reached == "retrain" else None
    return [
        _write(case, entry, to, by, "verified", report.reached, trained=entry.record.cell.seed == trained)
        for entry in case.submission.done
    ]


def withdraw(case: Case, reason: str, to: Path, by: str) -> list[Path]:
    """Writes a withdrawal of each record of a submission, for a reason; returns the files."""
    return [_write(case, entry, to, by, "withdrawn", reason=reason) for entry in case.submission.done]


def mark_stale(case: Case, found: Sequence[Problem], to: Path, by: str) -> list[Path]:
    """Writes that records are stale, unless that is written already; returns the files."""
    entries = {entry.file: entry for entry in case.submission.done}
    known = read_attestations(to)[0] if to.is_dir() else Attestations()
    return [
        _write(case, entries[problem.file], to, by, "stale", reason=problem.reason)
        for problem in found
        if problem.checked and not known.status(entries[problem.file].record).stale
    ]


def _write(
    case: Case,
    entry: Entry,
    to: Path,
    by: str,
    kind: Kind,
    level: Level | None = None,
    reason: str | None = None,
    trained: bool = False,
) -> Path:
    statement = case.submission.statement
    return write_attestation(
        Attestation(
            record=entry.sha256,
            kind=kind,
            level=level,
            reason=reason,
            date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            by=by,
            referee=f"pmbench {__version__}",
            machine=Machine(
                platform=f"{platform.system()} {platform.machine()}",
                python=platform.python_version(),
                torch=importlib.metadata.version("torch"),
                device=case.device,
            ),
            submission=statement.folder if statement else None,
            nonce=case.nonce if level else None,
            trained=trained,
        ),
        to,
    )


def commitment(nonce: str) -> str:
    """SHA-256 of a nonce, which a referee publishes before it sees a submission."""
    return hashlib.sha256(nonce.encode()).hexdigest()
