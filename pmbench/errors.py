"""Exceptions of pmbench.

PmbenchError                    base: what was wrong, what was expected; `hint` says what to do
├── UsageError                  invalid arguments of a command or a call (exit code 2)
│   ├── UnknownName             unknown method, data set, protocol, backbone or option; suggests near matches
│   └── DataNotPrepared         a known data set without prepared form on this machine
├── NothingToRun                every cell was skipped (exit code 3)
├── Unsupported                 a method does not support a setting: a skip with a reason, not a failure
├── PluginError                 an exception of a plugin, or a violation of its contract
│   ├── ContractError           a plugin violates its contract
│   └── SealError               a delivered network cannot be sealed, or is not a function of its inputs
├── DataError                   a data file is missing, damaged or not as declared
├── TrainingError               a loss or an input is not finite, or device memory ran out
├── StoreError                  the store cannot be read or written
└── RecordError                 a record cannot be read, or contradicts its predictions
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from .tracebacks import error_text, printable, trace_of


class PmbenchError(Exception):
    """Base of all exceptions of pmbench.

    The message says what was wrong and what was expected; `hint`, if any, says what to do. `trace` is the
    traceback in the process that raised it, if that was another one.
    """

    exit_code = 1
    trace = ""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.hint, getattr(self, "__notes__", [])))


def _rebuild(kind: type[PmbenchError], message: str, hint: str | None, notes: list[str]) -> PmbenchError:
    error = kind.__new__(kind)
    PmbenchError.__init__(error, message, hint)
    for note in notes:
        error.add_note(note)
    return error


class UsageError(PmbenchError):
    """Invalid arguments of a command or a call."""

    exit_code = 2


MOST_LISTED = 20
"""Known names that an error lists; more are counted where a hint says what lists them."""


class UnknownName(UsageError):
    """A name that no installed plugin offers.

    >>> UnknownName("method", "hofman", ["hoffman", "kd"]).message
    "unknown method 'hofman'; did you mean 'hoffman'?"
    >>> UnknownName("protocol of data set 'hapt'", "few", ["few-10"]).message
    "unknown protocol 'few' of data set 'hapt'; did you mean 'few-10'?"
    """

    def __init__(self, what: str, name: str, known: Iterable[str], hint: str | None = None) -> None:
        known = sorted(known)
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        if near:
            tail = "did you mean " + " or ".join(repr(n) for n in near) + "?"
        elif hint and len(known) > MOST_LISTED:
            tail = f"none of {len(known)} known names is like it"
        else:
            tail = "known: " + (", ".join(known) if known else "none")
        kind, of, owner = what.partition(" of ")
        super().__init__(f"unknown {kind} {name!r}{of}{owner}; {tail}", hint)


class DataNotPrepared(UsageError):
    """A known data set without prepared form on this machine."""


class NothingToRun(PmbenchError):
    """Every cell of a run was skipped."""

    exit_code = 3


OTHER_CHOICE = "choose another protocol, backbone or method (`pmbench list`)"
"""What to do where nothing can be run."""


class Unsupported(PmbenchError):
    """A method does not support a setting."""


class PluginError(PmbenchError):
    """An exception of a plugin, or a violation of its contract."""


class ContractError(PluginError):
    """A plugin violates its contract."""


class SealError(PluginError):
    """A delivered network cannot be sealed, or is not a function of its inputs."""


class DataError(PmbenchError):
    """A data file is missing, damaged or not as declared."""


class TrainingError(PmbenchError):
    """A loss or an input is not finite, or device memory ran out."""


class StoreError(PmbenchError):
    """The store cannot be read or written."""


class RecordError(PmbenchError):
    """A record cannot be read, or contradicts its predictions."""


def plural(count: int, one: str, many: str | None = None) -> str:
    """A number and what it counts: `1 stage`, `2 stages`.

    >>> plural(1, "sample lacks", "samples lack")
    '1 sample lacks'
    """
    return f"{count} {one if count == 1 else many or one + 's'}"


def as_answer(error: BaseException) -> dict[str, Any]:
    """The JSON object that tells another process of an error."""
    trace = trace_of(error)
    if not isinstance(error, PmbenchError):
        return {
            "kind": "PluginError",
            "message": error_text(error),
            "hint": None,
            "notes": [],
            "trace": trace,
        }
    return {
        "kind": type(error).__name__,
        "message": error.message,
        "hint": error.hint,
        "notes": [str(note) for note in getattr(error, "__notes__", [])],
        "trace": trace,
    }


def from_answer(answer: Mapping[str, Any]) -> PmbenchError:
    """The error that another process has told of; a PluginError if its kind is unknown."""
    found = globals().get(str(answer.get("kind")))
    kind = found if isinstance(found, type) and issubclass(found, PmbenchError) else PluginError
    hint, notes = answer.get("hint"), answer.get("notes")
    texts = [str(note) for note in notes] if isinstance(notes, list) else []
    error = _rebuild(kind, str(answer.get("message")), None if hint is None else str(hint), texts)
    error.trace = printable(answer.get("trace") or "")
    return error
