"""What the figures show, as plain values: all that drawing needs, and what their digest is made from."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..boards import Board
from ..headlines import controls, methods
from ..rows import Row
from ..verdicts import short_verdict
from .book import Book, Table, slugs
from .gains import order_of

FEW = re.compile(r"few-(\d+)(@.*)?")
ALL_LABELS = re.compile(r"(?!.*(?:few|privileged|with|shared)-)[^@+]+(@.*)?")
DIGITS = 6
PANELS = 8
"""Most tables that the figure of the front page shows."""


@dataclass(frozen=True)
class Gain:
    """A method's gain over the floor, its interval, and the difference of each seed. `verdict`: in words."""

    label: str
    value: float
    low: float | None
    high: float | None
    seeds: tuple[float, ...]
    verdict: str


@dataclass(frozen=True)
class Gains:
    """Gains of one table. `controls`: label and mean gain of each; `gap`: of the ceiling."""

    title: str
    unit: str
    rows: tuple[Gain, ...]
    controls: tuple[tuple[str, float], ...]
    gap: tuple[str, float] | None


@dataclass(frozen=True)
class Overview:
    """Gains of several tables. `labels`: all their methods, in the order of the front page."""

    tables: tuple[Gains, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Point:
    """Result of a row, and its cost. `given`: whether it is given a privileged modality at test."""

    label: str
    value: float
    macs: float | None
    seconds: float
    given: bool


@dataclass(frozen=True)
class Costs:
    title: str
    metric: str
    higher_is_better: bool
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Curves:
    """Validation metric by epoch: mean of each row, and of the floor."""

    title: str
    metric: str
    rows: tuple[tuple[str, tuple[float, ...], tuple[tuple[float, ...], ...]], ...]
    floor: tuple[float, ...]


@dataclass(frozen=True)
class Labels:
    """Gain by number of labels a class, `places`, one for each of `tables`, given by their file names.

    `rows`: gains of each method, None where missing. `gaps`: of the ceilings.
    """

    title: str
    unit: str
    places: tuple[str, ...]
    tables: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Gain | None, ...]], ...]
    gaps: tuple[float | None, ...]

    @property
    def alternative(self) -> str:
        return f"{self.title}: gain over the floor of each method by number of labels a class, with interval"


def figures_of(board: Board, name: str) -> dict[str, str]:
    """Kind of each figure of a board -> its alternative text."""
    metric = board.metric.title if board.metric else "result"
    found = {}
    if methods(board):
        found["gains"] = f"{name}: gain over the floor of each method, with interval and a dot for each seed"
    if any(row.records[-1].cost for row in board.rows):
        found["costs"] = f"{name}: {metric} against multiply-accumulates at test and against training time"
    if any(curve_of(row) for row in board.rows):
        found["curves"] = f"{name}: {metric} on validation data by epoch, mean over seeds"
    return found


def curve_of(row: Row) -> list[float]:
    """Validation metric by epoch, mean over the seeds; empty if a record lacks it."""
    curves = [r.validation.curve if r.validation else [] for r in row.records]
    if not curves or not all(curves):
        return []
    return [sum(values) / len(values) for values in zip(*curves, strict=False)]


def overview_tables(book: Book) -> list[Table]:
    """The tables of the figure: those of most seeds, in their order."""
    compared = [t for t in book.tables if methods(t.board)]
    chosen = sorted(compared, key=lambda t: -len(t.board.seeds))[:PANELS]  # stable
    return [t for t in compared if t in chosen]


def gains_of(board: Board, name: str) -> Gains:
    floor, ceiling = board.floor, board.ceiling
    gap = None
    if floor is not None and ceiling is not None:
        gap = (ceiling.label, _mean(_by_seed(ceiling, floor, board)))
    found = tuple((row.label, _round(row.gain.difference)) for row in controls(board) if row.gain)
    rows = tuple(gain_of(row, board) for row in methods(board))
    unit = f"gain over the floor in {board.metric.title if board.metric else 'result'}, points"
    return Gains(name, unit, rows, found, gap)


def gain_of(row: Row, board: Board) -> Gain:
    assert row.gain is not None
    assert board.floor is not None
    gain = row.gain
    low, high = (None if x is None else _round(x) for x in (gain.low, gain.high))
    seeds = _by_seed(row, board.floor, board)
    return Gain(row.label, _round(gain.difference), low, high, tuple(seeds), short_verdict(row, board))


def costs_of(board: Board, name: str) -> Costs:
    metric = board.metric
    points = []
    for row in (row for row in board.rows if row.equal_to is None):
        cost = row.records[-1].cost
        macs = float(cost.macs) if cost and cost.macs else None
        given = not row.rankable
        points.append(Point(row.label, _round(row.interval.mean), macs, _round(row.train_seconds), given))
    assert metric is not None, "a board with rows has a metric"
    return Costs(name, metric.title, metric.higher_is_better, tuple(points))


def curves_of(board: Board, name: str) -> Curves:
    rows = [row for row in board.rows if curve_of(row) and row is not board.floor]
    found = []
    for row in rows:
        each = tuple(_rounded(r.validation.curve) for r in row.records if r.validation)
        found.append((row.label, _rounded(curve_of(row)), each))
    floor = curve_of(board.floor) if board.floor else []
    title = board.metric.title if board.metric else "result"
    return Curves(name, title, tuple(found), _rounded(floor))


def labels_of(book: Book) -> dict[str, Labels]:
    """File name -> gains by number of labels, of data sets with several few-K protocols."""
    groups: dict[str, dict[float, Table]] = {}
    for one in book.tables:
        cell, count = one.board.cell, labels_a_class(one.board.cell.protocol)
        if count is not None and one.board.floor is not None:
            side = "@" + cell.protocol.partition("@")[2] if "@" in cell.protocol else ""
            values = "" if cell.value_set == "paper" else f", {cell.value_set} values"
            own = [cell.dataset_version, cell.num_classes, cell.recipe_set, sorted(cell.backbones.items())]
            groups.setdefault(f"{cell.dataset}{side}{values}\0{own}", {}).setdefault(count, one)
    several = [
        _labels(key.partition("\0")[0], dict(sorted(by_count.items())))
        for key, by_count in groups.items()
        if sum(count != float("inf") for count in by_count) > 1
    ]
    names = slugs([f"labels {shown.title}" for shown in several])
    return dict(zip(names, several, strict=True))


def labels_a_class(protocol: str) -> float | None:
    """K of `few-K`, infinity for all labels, None for protocols that change something else, too."""
    if found := FEW.fullmatch(protocol):
        return float(found[1])
    return float("inf") if ALL_LABELS.fullmatch(protocol) else None


def _labels(name: str, by_count: dict[float, Table]) -> Labels:
    boards = [one.board for one in by_count.values()]
    all_rows = {row.label: row for board in boards for row in methods(board)}
    rows = []
    for label in all_rows:
        own = [next((r for r in methods(b) if r.label == label), None) for b in boards]
        found = tuple(None if r is None else gain_of(r, b) for r, b in zip(own, boards, strict=True))
        if sum(g is not None for g in found) > 1:
            rows.append((label, found))
    gaps = [gains_of(board, name).gap for board in boards]
    places = tuple("all" if c == float("inf") else f"{c:.0f}" for c in by_count)
    unit = gains_of(boards[0], name).unit
    tables = tuple(one.slug for one in by_count.values())
    return Labels(name, unit, places, tables, tuple(rows), tuple(None if g is None else g[1] for g in gaps))


def overview_of(book: Book) -> Overview | None:
    tables = tuple(gains_of(one.board, one.name) for one in overview_tables(book))
    shown = {row.label for table in tables for row in table.rows}
    labels = tuple(label for label in order_of(book) if label in shown)
    return Overview(tables, labels) if tables else None


def _by_seed(row: Row, floor: Row, board: Board) -> list[float]:
    """Difference of each common seed in points, positive if the row is better."""
    metric = board.metric
    assert metric is not None, "a board with rows has a metric"
    sign = 1 if metric.higher_is_better else -1
    of_floor = {r.cell.seed: r.metrics[metric.name] for r in floor.records}
    return [
        _round(sign * (r.metrics[metric.name] - of_floor[r.cell.seed]))
        for r in row.records
        if r.cell.seed in of_floor
    ]


def _mean(values: list[float]) -> float:
    return _round(sum(values) / len(values)) if values else 0.0


def _round(value: float) -> float:
    return round(value, DIGITS) + 0.0


def _rounded(values: list[float]) -> tuple[float, ...]:
    return tuple(map(_round, values))
