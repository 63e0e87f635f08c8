"""Rows of a board, and the parts that some of them play: floor, ceiling, controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..metrics.builtin import Metric
from .cell import CellInfo
from .gaps import Gap, Pair
from .ranks import Rank
from .record import PublishedNumber, Record
from .statistics import Comparison, Interval
from .text import row_text

FLOOR, ENSEMBLE = "target_only", "target_ensemble"
"""The control of methods that run two networks at test; the other controls apply to every method."""
REQUIRED = "self_distill"
"""The control without which no headline claim is made."""
GIVEN = ("privileged_only", "late_fusion", "early_fusion")
"""References that are given the privileged modality; the best of them on validation data is the ceiling."""


@dataclass(frozen=True)
class Teacher:
    """What teaches a method: a reference row, "own" for another network.

    `label` and `value`: that row of the board and its mean result; None if no row is this very network.
    """

    name: str
    label: str | None = None
    value: float | None = None


@dataclass(frozen=True)
class Row:
    """One method with one set of options. `records`: its finished cells, by seed.

    `equal_to`: label of the row of the same method whose predictions it has; it is then no part of any test.
    `ceiling`: whether the board measures gaps against this row. `rank` is None if the row is not rankable.
    `gain` and `gap` compare it with the floor; `error` is the standard error of the gain and its degrees of
    freedom, `pair` what the gap is computed from. `edge`: seeds of which each, left out, changes the verdict.
    `others` maps each metric but the board's to its interval over seeds and the published numbers.
    """

    label: str
    records: tuple[Record, ...]
    interval: Interval
    equal_to: str | None = None
    ceiling: bool = False
    rank: Rank | None = None
    gain: Comparison | None = None
    error: tuple[float, float] | None = None
    gap: Gap | None = None
    pair: Pair | None = None
    edge: tuple[int, ...] = ()
    teacher: Teacher | None = None
    published: tuple[PublishedNumber, ...] = ()
    others: Mapping[str, tuple[Interval, tuple[PublishedNumber, ...]]] = field(default_factory=dict)

    @property
    def cell(self) -> CellInfo:
        return self.records[0].cell

    @property
    def sealed(self) -> bool:
        return all(r.sealed for r in self.records)

    @property
    def rankable(self) -> bool:
        return self.sealed and self.cell.tests_on == "target" and self.equal_to is None

    @property
    def competes(self) -> bool:
        """Whether the row is a method that is tested as one of the table's family."""
        return self.rankable and self.cell.role == "method"

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(r.cell.seed for r in self.records)

    @property
    def networks(self) -> int:
        """Number of networks that run at test."""
        return max((r.cost.networks for r in self.records if r.cost), default=1)

    @property
    def train_seconds(self) -> float:
        """Mean over seeds of the training time, as if no stage had been reused."""
        return float(np.mean([r.cost.train_seconds for r in self.records if r.cost]))

    @property
    def marks(self) -> list[str]:
        """Notes beside the label: equal row, role, privileged modalities at test, values, not sealed."""
        cell = self.cell
        role = "reference" if cell.role == "ceiling" else cell.role
        found = [f"equal to {self.equal_to}"] if self.equal_to else []
        found += ["ceiling" if self.ceiling else role] if cell.role != "method" else []
        if cell.tests_on != "target":
            privileged = [m for m in cell.test_modalities if m in cell.privileged]
            found.append(f"given {', '.join(privileged)} at test")
        if cell.value_set != cell.values and cell.role == "method":
            found.append(f"{cell.values} values, it has no {cell.value_set} ones")
        weak = {r.provenance.isolation for r in self.records} - {"landlock", "unknown"}
        found += [f"isolation: {', '.join(sorted(weak))}"] if weak else []
        return found if self.sealed else [*found, "not sealed"]


def label_of(cell: CellInfo) -> str:
    """Label of a row, as `row_text` writes it."""
    return row_text(
        cell.method,
        cell.options,
        ablation=cell.ablation.row if cell.ablation else None,
        placebo=cell.placebo,
        matched_epochs=cell.matched_epochs,
        tuned_trials=cell.study.trials if cell.study else None,
    )


def with_equals(rows: Sequence[Row]) -> list[Row]:
    """The rows, those marked that have the predictions of another row of their method on all common seeds.

    Such as a tuned row whose best trial has the default values: counted twice, it would be tested twice.
    """
    found: list[Row] = []
    for row in sorted(rows, key=_first_of_equals):
        same = (one.label for one in found if one.equal_to is None and _equal(one, row))
        found.append(replace(row, equal_to=next(same, None)))
    return sorted(found, key=lambda r: r.label)


def _first_of_equals(row: Row) -> tuple[object, ...]:
    return not row.sealed, row.cell.study is not None, len(row.cell.options), row.label


def _equal(one: Row, other: Row) -> bool:
    """Whether two rows of one method have the same predictions on their common seeds, at least one."""
    if one.cell.method != other.cell.method:
        return False
    known = {r.cell.seed: r.digests.predictions for r in one.records if r.digests}
    both = [
        (known[r.cell.seed], r.digests.predictions)
        for r in other.records
        if r.digests and r.cell.seed in known
    ]
    return bool(both) and all(a == b for a, b in both)


def find_floor(rows: Sequence[Row]) -> Row | None:
    """The sealed floor: `target_only` if it is on the board, with the fewest options set."""
    return min(_floors(rows), key=_floor_order, default=None)


def second_floors(rows: Sequence[Row]) -> list[Row]:
    """Other methods that call themselves floors."""
    floor = find_floor(rows)
    return [r for r in _floors(rows) if floor is not None and r.cell.method != floor.cell.method]


def _floors(rows: Sequence[Row]) -> list[Row]:
    return [r for r in rows if r.cell.role == "floor" and r.rankable]


def _floor_order(row: Row) -> tuple[object, ...]:
    return row.cell.method != FLOOR, len(row.cell.options), -len(row.seeds), row.label


def find_ceiling(rows: Sequence[Row], metric: Metric) -> Row | None:
    """The best row that is given the privileged modality, on validation data: test data choose nothing.

    Candidates are those of GIVEN, and rows whose role is ceiling, each with the fewest options set. They are
    compared by the mean of their validation values over common seeds. Without any such value, the first row
    whose role is ceiling is taken.
    """
    candidates = _candidates(rows)
    values = {row.label: validation_values(row, metric) for row in candidates}
    known = [row for row in candidates if values[row.label]]
    common = set.intersection(*(set(values[row.label]) for row in known)) if known else set()
    if not common:
        return next((r for r in candidates if r.cell.role == "ceiling"), None)
    sign = -1 if metric.higher_is_better else 1
    means = {row.label: sum(values[row.label][s] for s in sorted(common)) / len(common) for row in known}
    return min(known, key=lambda r: (round(sign * means[r.label], 9), r.label))


def without_validation(rows: Sequence[Row], metric: Metric) -> list[Row]:
    """Candidates that cannot become the ceiling, because their records hold no validation value."""
    return [row for row in _candidates(rows) if not validation_values(row, metric)]


def _candidates(rows: Sequence[Row]) -> list[Row]:
    found: dict[str, Row] = {}
    for row in sorted(rows, key=lambda r: (len(r.cell.options), r.label)):
        given = row.cell.method in GIVEN and row.cell.tests_on != "target"
        if given or row.cell.role == "ceiling":
            found.setdefault(row.cell.method, row)
    return list(found.values())


def validation_values(row: Row, metric: Metric) -> dict[int, float]:
    """Value of the metric on validation data at the selected epoch, by seed."""
    return {
        r.cell.seed: r.validation.selected
        for r in row.records
        if r.validation and r.validation.selected is not None and r.validation.metric == metric.name
    }


def find_controls(rows: Sequence[Row]) -> list[Row]:
    """Controls and the ensemble, each compared with the methods to which it `applies`."""
    found = [r for r in rows if r.rankable and (r.cell.role == "control" or r.cell.method == ENSEMBLE)]
    return sorted(found, key=lambda r: r.label)


def applies(control: Row, row: Row) -> bool:
    """Whether a control belongs to a method: the ensemble, to methods of several networks at test alone."""
    return control.cell.method != ENSEMBLE or row.networks > 1
