"""What the figures of ablations show: result against one option, and loss by epoch, as plain values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..boards import AblationResult, AblationTable, Board
from ..record import PublishedNumber
from ..rows import Row
from ..teachers import last_stage
from ..text import natural
from .shown import DIGITS

FEWEST_VALUES = 3
"""Values of an option below which there is no curve."""


@dataclass(frozen=True)
class Result:
    """Mean result at a value of the option, half of its interval, and the result of each seed."""

    value: float
    half: float | None
    seeds: tuple[float, ...]


@dataclass(frozen=True)
class Printed:
    """A paper's numbers by value of the option, None where missing. `source`: paper, table and data set."""

    source: str
    metric: str
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class Study:
    """Result of a method against the values of one option, `places`.

    `itself`: label and result of the method with its own value. `students`: the same of methods that are
    taught by the network of which the study changes the input.
    """

    title: str
    option: str
    metric: str
    places: tuple[str, ...]
    results: tuple[Result, ...]
    itself: tuple[str, float] | None
    students: tuple[tuple[str, float], ...]
    printed: tuple[Printed, ...]

    @property
    def alternative(self) -> str:
        text = f"{self.title}: {self.metric} against {self.option}, with interval and a dot for each seed"
        return text + ("; the numbers of the paper below" if self.printed else "")


@dataclass(frozen=True)
class Loss:
    """Loss by epoch of one row of an ablation, mean over seeds. `itself`: whether it is the method itself."""

    label: str
    values: tuple[float, ...]
    itself: bool


@dataclass(frozen=True)
class Losses:
    """Sum of the loss terms by epoch, for rows of an ablation. `panels`: terms, and rows that have them."""

    title: str
    panels: tuple[tuple[str, tuple[Loss, ...]], ...]

    @property
    def alternative(self) -> str:
        return f"{self.title}: sum of the loss terms of the last stage by epoch, mean over seeds"


@dataclass(frozen=True)
class Terms:
    """Loss terms by epoch, mean over seeds. `rows`: label, and the curve of each term by name."""

    title: str
    rows: tuple[tuple[str, tuple[tuple[str, tuple[float, ...]], ...]], ...]

    @property
    def alternative(self) -> str:
        return f"{self.title}: loss terms of the last stage by epoch, mean over seeds"


def method_of(table: AblationTable) -> str | None:
    """The method of an ablation table; None without any result."""
    return next((row.row.cell.method for row in table.rows if row.row is not None), None)


# --- one option ---------------------------------------------------------------------------------------------


def studies_of(board: Board, table: AblationTable, name: str) -> dict[str, Study]:
    """Option -> study of an ablation table, for numeric options that alone change in several rows."""
    metric = board.metric
    itself = table.rows[0]
    found: dict[str, dict[float, list[AblationResult]]] = {}
    for row in table.rows[1:]:
        changed = {k: v for k, v in row.options.items() if k not in itself.options or itself.options[k] != v}
        for option, value in changed.items():
            number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if number and len(changed) == 1 and row.row is not None:
                found.setdefault(option, {}).setdefault(value + 0.0, []).append(row)
    if metric is None:
        return {}
    studies = {}
    for option, by_value in sorted(found.items(), key=lambda one: natural(one[0])):
        if len(by_value) >= FEWEST_VALUES:
            same = [rows for _, rows in sorted(by_value.items())]
            own = None if itself.row is None else (table.label, _round(itself.row.interval.mean))
            studies[option] = Study(
                f"{name}, {table.label}",
                option,
                metric.title,
                tuple(f"{value:g}" for value in sorted(by_value)),
                tuple(_result(rows[0].row, metric.name) for rows in same if rows[0].row is not None),
                own,
                () if itself.row is None else _students(board, itself.row),
                _printed([[p for row in rows for p in row.printed] for rows in same]),
            )
    return studies


def _result(row: Row, metric: str) -> Result:
    half = None if row.interval.half is None else _round(row.interval.half)
    return Result(_round(row.interval.mean), half, _rounded([r.metrics[metric] for r in row.records]))


def _students(board: Board, row: Row) -> tuple[tuple[str, float], ...]:
    """Methods taught by the network of a row that is given a privileged modality at test.

    Their stages hold all stages of the row but its last, on every common seed: `mdms` for `mdms_noisy`, which
    adds noise to the input of a teacher of `mdms`.
    """
    if row.rankable:
        return ()
    needed = {r.cell.seed: {s.key for s in r.stages} - {last_stage(r)} for r in row.records}
    found = []
    for other in board.rows:
        common = [r for r in other.records if needed.get(r.cell.seed)]
        taught = all(needed[r.cell.seed] <= {s.key for s in r.stages} for r in common)
        if other.competes and common and taught:
            found.append((other.label, _round(other.interval.mean)))
    return tuple(found)


def _printed(numbers: Sequence[Sequence[PublishedNumber]]) -> tuple[Printed, ...]:
    """The numbers at each value, as a curve for each paper, table, data set and metric of several numbers."""
    curves: dict[tuple[str, str], list[float | None]] = {}
    for place, printed in enumerate(numbers):
        for one in printed:
            source = f"{one.paper}, {one.table}: {one.dataset}, {one.protocol}"
            curve = curves.setdefault((source, one.metric), [None] * len(numbers))
            curve[place] = _round(one.value)
    return tuple(
        Printed(source, metric, tuple(curve))
        for (source, metric), curve in curves.items()
        if sum(value is not None for value in curve) > 1
    )


# --- loss terms ---------------------------------------------------------------------------------------------


def terms_of_row(row: Row) -> dict[str, tuple[float, ...]]:
    """Term -> its mean over seeds by epoch; empty unless all seeds have the same terms and epochs."""
    each = [r.validation.terms if r.validation else {} for r in row.records]
    lengths = {name: {len(terms.get(name, [])) for terms in each} for name in each[0]}
    same = all(terms.keys() == each[0].keys() for terms in each)
    if not same or any(len(found) > 1 or 0 in found for found in lengths.values()):
        return {}
    return {
        name: _rounded([sum(at) / len(at) for at in zip(*(terms[name] for terms in each), strict=True)])
        for name in each[0]
    }


def terms_of(board: Board, name: str) -> Terms | None:
    """The loss terms of all rows of a board that have them."""
    found = {row.label: terms_of_row(row) for row in board.rows}
    rows = tuple((label, tuple(terms.items())) for label, terms in found.items() if terms)
    return Terms(name, rows) if rows else None


def losses_of(table: AblationTable, name: str) -> Losses | None:
    """Losses of the rows of an ablation, those with equal terms and as many epochs in one panel.

    A curve that is there already, of a row with the same stages, is left out; so is a panel of one curve.
    """
    groups: dict[tuple[object, ...], list[Loss]] = {}
    names: dict[tuple[object, ...], str] = {}
    for row in table.rows:
        terms = {} if row.row is None else terms_of_row(row.row)
        if not terms:
            continue
        values = _rounded([sum(at) for at in zip(*terms.values(), strict=False)])
        key = (*sorted(terms), len(values))
        group = groups.setdefault(key, [])
        if all(loss.values != values for loss in group):
            group.append(Loss(row.name or table.label, values, not row.name))
        names[key] = " + ".join(terms)
    panels = tuple((names[key], tuple(group)) for key, group in groups.items() if len(group) > 1)
    return Losses(f"{name}, {table.label}", panels) if panels else None


def _round(value: float) -> float:
    return round(value, DIGITS) + 0.0


def _rounded(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(map(_round, values))
