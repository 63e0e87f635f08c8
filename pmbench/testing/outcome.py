"""A check, what came out of it, and the checks of one plugin's offer together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..errors import PmbenchError
from ..tracebacks import error_text, trace_of

Outcome = Literal["passed", "failed", "skipped", "allowed"]


class Failed(Exception):
    """Raised by a check whose property does not hold; the message describes the violation."""


class Skipped(Exception):
    """Raised by a check that does not apply; the message gives the reason."""


@dataclass(frozen=True)
class Result:
    """`allowed`: the property does not hold, and the plugin declares that as a known exception.

    `trace` is the traceback of an exception that is not a finding of the check itself.
    """

    check: str
    outcome: Outcome
    reason: str = ""
    trace: str = ""

    @property
    def ok(self) -> bool:
        return self.outcome != "failed"


@dataclass(frozen=True)
class Check:
    """One named property on one small data set; `name` is `rule[case]`, or the rule alone."""

    rule: str
    run: Callable[[], None] = field(repr=False)
    case: str = ""

    @property
    def name(self) -> str:
        return f"{self.rule}[{self.case}]" if self.case else self.rule


@dataclass
class Suite:
    """All checks of one method, data set or backbone. Each runs once, on first demand.

    `exceptions` maps a property to the reason why it cannot hold. They are strict: one that holds on every
    case is a failure, and so is one that names no property.
    """

    kind: str
    name: str
    checks: list[Check]
    exceptions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._results: dict[str, Result] = {}
        self._own = tuple(self.checks)
        strict = [Check("exceptions_are_needed", self._exceptions_are_needed)] if self.exceptions else []
        self.checks = [*self._own, *strict, Check("something_was_checked", self._something_was_checked)]

    def result(self, check: Check) -> Result:
        """What came out of the check, run now unless it was before."""
        if check.name not in self._results:
            self._results[check.name] = self._judge(check, *_outcome(check))
        return self._results[check.name]

    def results(self) -> list[Result]:
        return [self.result(check) for check in self.checks]

    def _judge(self, check: Check, outcome: Outcome, reason: str, trace: str) -> Result:
        excuse = self.exceptions.get(check.rule)
        if outcome == "failed" and excuse and check in self._own:
            return Result(check.name, "allowed", f"{excuse} ({reason})")
        return Result(check.name, outcome, reason, trace)

    def _exceptions_are_needed(self) -> None:
        for name, reason in self.exceptions.items():
            found = [self.result(check).outcome for check in self._own if check.rule == name]
            if not found:
                known = ", ".join(dict.fromkeys(c.rule for c in self._own))
                raise Failed(f"exception {name!r} names no check; checks: {known}")
            if not str(reason).strip():
                raise Failed(f"exception {name!r} gives no reason")
            if "allowed" not in found:
                raise Failed(f"{name!r} is declared as an exception, but it holds: remove the exception")

    def _something_was_checked(self) -> None:
        on_data = [check for check in self._own if check.case] or self._own
        if all(self.result(check).outcome == "skipped" for check in on_data):
            raise Failed(f"every check of {self.kind} {self.name!r} was skipped")


def _outcome(check: Check) -> tuple[Outcome, str, str]:
    """The outcome, its reason, and the traceback of an exception."""
    try:
        check.run()
    except Skipped as skip:
        return "skipped", str(skip), ""
    except Failed as failure:
        return "failed", str(failure), trace_of(failure) if failure.__cause__ else ""
    except PmbenchError as error:
        return "failed", error.message, trace_of(error)
    except (Exception, SystemExit) as error:
        return "failed", error_text(error), trace_of(error)
    return "passed", "", ""
