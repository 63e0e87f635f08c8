"""Results that other choices of the epoch would have given; none of them is a result of the board."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from ..contracts.metric import Metric
from .rows import Row


@dataclass(frozen=True)
class Choices:
    """What other epochs of a row's last stage would have added to its result, mean over seeds, in points.

    `last`: the last epoch; `validation`: the best on validation data, None without such data; `test`: the
    best on the test part, the bonus of picking it there. Positive is better.
    """

    label: str
    seeds: int
    last: float
    validation: float | None
    test: float


def choices_of(rows: Sequence[Row], metric: Metric) -> list[Choices]:
    """The choices of each row that has records with an audit, from these records."""
    sign = 1.0 if metric.higher_is_better else -1.0
    found = []
    for row in rows:
        pairs = [
            (r.audit, r.metrics[metric.name]) for r in row.records if r.audit and r.primary == metric.name
        ]
        if pairs:
            validated = [sign * (a.validation - value) for a, value in pairs if a.validation is not None]
            found.append(
                Choices(
                    row.label,
                    len(pairs),
                    fmean(sign * (a.last - value) for a, value in pairs),
                    fmean(validated) if len(validated) == len(pairs) else None,
                    fmean(sign * (a.test - value) for a, value in pairs),
                )
            )
    return found


def bonus_of(rows: Sequence[Row], metric: Metric | None) -> float | None:
    """Mean bonus of picking the epoch on the test part, over rows tested on the target modality alone."""
    found = choices_of([row for row in rows if row.rankable], metric) if metric else []
    return fmean(one.test for one in found) if found else None
