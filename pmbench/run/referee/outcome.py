"""Levels, checks, and what came out of them."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ...errors import PmbenchError
from ...report.attestations import Level
from ...report.fields import plain_text
from ...tracebacks import error_text
from .case import Case

LEVELS: tuple[Level, ...] = typing.get_args(Level)
Verdict = Literal["passed", "refused", "not checked"]


@dataclass(frozen=True)
class Problem:
    """Why a file of a submission is refused. `checked` is False if the referee lacks what a check needs."""

    file: str
    reason: str
    checked: bool = True


Check = Callable[[Case], Iterable[Problem]]


@dataclass(frozen=True)
class Result:
    """A check with its problems."""

    check: str
    level: Level
    problems: tuple[Problem, ...] = ()

    @property
    def verdict(self) -> Verdict:
        if any(problem.checked for problem in self.problems):
            return "refused"
        return "not checked" if self.problems else "passed"


@dataclass(frozen=True)
class Report:
    """Results of the checks of a submission. A level is reached if its checks and those before have passed.

    `level` is the one asked for. A level after one that refuses is not run. `notes`: facts for the reader.
    """

    folder: str
    level: Level
    results: tuple[Result, ...]
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        found = {result.verdict for result in self.results}
        if "refused" in found:
            return "refused"
        return "not checked" if "not checked" in found else "passed"

    @property
    def reached(self) -> Level | None:
        """The strongest level all of whose checks passed."""
        reached = None
        for level in LEVELS:
            own = [result for result in self.results if result.level == level]
            if not own or any(result.verdict != "passed" for result in own):
                break
            reached = level
        return reached

    def problems(self, verdict: Verdict) -> list[tuple[Result, Problem]]:
        """(result, problem) of the problems that were found, or could not be looked for."""
        return [
            (result, problem)
            for result in self.results
            for problem in result.problems
            if problem.checked == (verdict == "refused")
        ]

    def as_json(self) -> dict[str, Any]:
        return {
            "folder": self.folder,
            "level": self.level,
            "reached": self.reached,
            "verdict": self.verdict,
            "notes": list(self.notes),
            "checks": [
                {
                    "check": result.check,
                    "level": result.level,
                    "verdict": result.verdict,
                    "problems": [
                        {"file": shown(p.file), "reason": shown(p.reason), "checked": p.checked}
                        for p in result.problems
                    ],
                }
                for result in self.results
            ],
        }


def shown(text: str) -> str:
    """Text of others on one line, without control characters."""
    return " ".join(str(plain_text(text)).split())


def run(checks: Sequence[Check], level: Level, case: Case) -> list[Result]:
    """Runs the checks of a level; a check is named by its function.

    One that raises an exception, whatever a hostile file has done, could not check everything.
    """
    return [Result(check.__name__, level, tuple(_problems(check, case))) for check in checks]


def _problems(check: Check, case: Case) -> Iterator[Problem]:
    try:
        yield from check(case)
    except Exception as error:
        reason = error.message if isinstance(error, PmbenchError) else error_text(error)
        yield Problem(".", f"the check ended early: {reason}", checked=False)
