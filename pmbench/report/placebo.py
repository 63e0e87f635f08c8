"""How much of a gain is left without privileged information: placebos, and floors of matched compute."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from .comparison import Paired
from .gaps import Gap, gap_recovered
from .rows import Row
from .statistics import Comparison, compare_all, prior_of

Kind = Literal["shuffle", "noise", "compute"]
KINDS: Mapping[Kind, str] = {
    "shuffle": "with the privileged data of other samples",
    "noise": "with noise in place of privileged data",
    "compute": "by the floor in as many steps",
}


@dataclass(frozen=True)
class Left:
    """What a row without privileged information, `row`, gains of what a method gains.

    `gain`: the row against the floor. `lost`: the method against the row. `share`: gain of the row / gain of
    the method, None if the method gains less than a point. Families are all rows of a kind on the board.
    """

    label: str
    kind: Kind
    row: Row
    gain: Comparison | None
    lost: Comparison | None
    share: Gap | None


def kind_of(row: Row) -> Kind | None:
    """Which kind of row without privileged information this is, or None."""
    return "compute" if row.cell.matched_epochs else row.cell.placebo


def left_of(rows: Sequence[Row], others: Sequence[Row], floor: Row | None, paired: Paired) -> list[Left]:
    """What is left of the gains of `rows` in `others`, which are placebos and floors of matched compute."""
    if floor is None:
        return []
    found = []
    for kind in KINDS:
        pairs = [
            (row, other)
            for row in rows
            if row.competes and (other := _of(row, (o for o in others if kind_of(o) == kind))) is not None
        ]
        over = [paired.difference(other, floor) for _, other in pairs]
        gains = compare_all(over)
        losses = compare_all([paired.difference(row, other) for row, other in pairs])
        prior = prior_of([d for d in over if d is not None])
        for (row, other), gain, lost in zip(pairs, gains, losses, strict=True):
            both = paired.gain_and_gap(other, floor, row, prior)
            found.append(Left(row.label, kind, other, gain, lost, gap_recovered(both, len(pairs))))
    order = {row.label: place for place, row in enumerate(rows)}
    return sorted(found, key=lambda one: order[one.label])


def _of(row: Row, others: Iterable[Row]) -> Row | None:
    """The placebo of a method, or the floor of the fewest steps that are not fewer than the method's."""
    steps = _steps(row)
    fitting = [
        o
        for o in others
        if (o.cell.matched_epochs and _steps(o) >= steps)
        or (o.cell.placebo and (o.cell.method, o.cell.options) == (row.cell.method, row.cell.options))
    ]
    return min(fitting, key=_steps, default=None)


def _steps(row: Row) -> int:
    return max((r.cost.steps for r in row.records if r.cost), default=0)
