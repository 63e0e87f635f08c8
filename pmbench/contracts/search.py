"""Search spaces of options: the values that `pmbench tune` may try."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ..errors import ContractError, UsageError
from .options import Option, without_none

Search = str | tuple[Any, ...]
"""An interval, "[0, 1]" or "log [0.1, 100]", or a tuple of values."""
_INTERVAL = re.compile(r"(log )?\[([^,\[\]]+),([^,\[\]]+)\]")


@dataclass(frozen=True)
class Interval:
    """Numbers from `low` to `high`, both included. `log`: uniform in the logarithm. `whole`: integers."""

    low: float
    high: float
    log: bool = False
    whole: bool = False


@dataclass(frozen=True)
class Choices:
    """At least two values, in an order in which neighbours are alike."""

    values: tuple[Any, ...]


Space = Interval | Choices


def space_of(search: Search, option: Option) -> Space:
    """The space that a method declares for one of its options; raises ContractError for a malformed one."""
    found = _interval(search, option) if isinstance(search, str) else Choices(tuple(search))
    values = (found.low, found.high) if isinstance(found, Interval) else found.values
    if len(values) < 2 or any(values.count(value) > 1 for value in values):
        raise ContractError(
            f"the search space of option {option.name!r} is {search!r}; expected at least two, different",
            "an option with one value is not searched: leave it out",
        )
    try:
        for value in values:
            option.check(value)
    except UsageError as error:
        raise ContractError(f"the search space of {error.message}") from error
    return found


def _interval(text: str, option: Option) -> Interval:
    kind, _ = without_none(option.type)
    found = _INTERVAL.fullmatch(text)
    try:
        if found is None or kind not in (int, float):
            raise ValueError
        low, high = kind(found[2]), kind(found[3])
    except ValueError:
        raise ContractError(
            f"the search space of option {option.name!r} is {text!r}; expected an interval of numbers, "
            '"[0, 1]" or "log [0.1, 100]", for a number, or a tuple of values'
        ) from None
    if not low < high or (found[1] and low <= 0) or max(abs(low), abs(high)) == float("inf"):
        raise ContractError(
            f"the search space of option {option.name!r} is {text!r}; expected finite bounds, the lower one "
            "first, and above 0 for `log`"
        )
    return Interval(low, high, bool(found[1]), kind is int)
