"""The verdict of one method in a few words."""

from __future__ import annotations

from .comparison import Claim
from .statistics import Comparison

BOTH, FLOOR_ALONE, WORSE = "beats floor and controls", "beats floor", "worse than floor"
NONE, UNTESTED = "no significant gain", "not tested"


def verdict_of(gain: Comparison | None, claim: Claim | None) -> str:
    """The verdict by a method's gain over the floor and its claim; `-` without either."""
    if claim is None or gain is None:
        return "-"
    if claim.holds:
        return BOTH
    if gain.better:
        return FLOOR_ALONE
    if gain.significant:
        return WORSE
    return UNTESTED if gain.adjusted is None else NONE
