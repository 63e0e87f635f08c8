"""The tables of the site as plain values: cells with texts, links, sort values and bars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..averages import MeanTable
from ..boards import Board
from ..headlines import EDGE, INTERVALS, controls, mark, methods
from ..record import Record
from ..rows import Row
from ..statistics import Comparison
from ..text import duration, gap_text, interval, number, percent, points, quantity, rank_text
from ..verdicts import teacher_text, verdict_text
from .book import Book, slugs
from .front import MEANS, across
from .matrix import HEAD, matrix_of
from .matrix import HOW_TO_READ as MATRIX
from .table import title_of
from .verification import status_of

TONES = {"▲": "good", "△": "partly", "▼": "bad"}
BAR = 110
"""Pixels of an interval in a table."""


@dataclass(frozen=True)
class Link:
    text: str
    href: str | None = None


@dataclass(frozen=True)
class Bar:
    """A gain and its interval in pixels from 0 to BAR; `zero`: of the floor."""

    value: float
    low: float | None
    high: float | None
    zero: float
    width: int = BAR


@dataclass(frozen=True)
class Cell:
    """`parts`: texts, some of them links. `value`: what the column is sorted by, None if missing.

    `mark`: of a verdict, in the colour `tone`; `said`: the verdict in words, for screen readers.
    """

    parts: tuple[Link, ...]
    value: float | str | None = None
    mark: str = ""
    said: str = ""
    tone: str = ""
    note: str = ""
    bar: Bar | None = None


@dataclass(frozen=True)
class Column:
    title: str
    numeric: bool = True


@dataclass(frozen=True)
class Line:
    """A row. `kind`: what it is filtered by; `line`: floor, controls and references."""

    cells: tuple[Cell, ...]
    id: str = ""
    kind: str = ""
    line: bool = False


@dataclass(frozen=True)
class Grid:
    id: str
    title: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Line, ...]
    filters: bool = False
    sortable: bool = True

    @property
    def kinds(self) -> list[str]:
        return list(dict.fromkeys(row.kind for row in self.rows if row.kind))


@dataclass(frozen=True)
class Files:
    """The files of the records within the site: of each record, and by cell key."""

    of_records: tuple[tuple[Record, str], ...]
    paths: dict[str, str]

    @classmethod
    def of(cls, book: Book) -> Files:
        records = {r.cell_key: r for r in sorted(book.records, key=lambda r: (r.cell_key, r.provenance.date))}
        names = slugs(
            [
                f"{r.cell.dataset}-{r.cell.protocol}-{r.cell.method}-s{r.cell.seed}-{key[:8]}"
                for key, r in records.items()
            ]
        )
        paths = {key: f"records/{name}.json" for key, name in zip(records, names, strict=True)}
        return cls(tuple((r, paths[key]) for key, r in records.items()), paths)

    def link(self, record: Record, text: str) -> Link:
        return Link(text, f"../{self.paths[record.cell_key]}")


def cell(text: str, value: float | str | None = None, href: str | None = None, **more: Any) -> Cell:
    """A cell of one text."""
    return Cell((Link(text, href),), value, **more)


def overview_grid(book: Book) -> Grid:
    """Methods x tables: gains; below them controls, floor and ceiling as lines."""
    found: dict[str, dict[str, Row]] = {}
    lines: dict[str, dict[str, Row]] = {}
    for one in book.tables:
        for row in methods(one.board):
            found.setdefault(row.label, {})[one.slug] = row
        for row in controls(one.board):
            lines.setdefault(row.label, {})[one.slug] = row
    rows = [_across(book, label, of, line=False) for label, of in found.items()]
    rows.sort(key=lambda line: -sum(c.value for c in line.cells[1:] if isinstance(c.value, float)))
    rows += [_across(book, label, of, line=True) for label, of in sorted(lines.items())]
    for part in ("floor", "ceiling"):
        cells = [cell(f"{part}, its result in %", part)]
        for one in book.tables:
            end = one.board.floor if part == "floor" else one.board.ceiling
            href = None if end is None else f"tables/{one.slug}.html#{anchor(book, end.label)}"
            cells.append(cell("-" if end is None else interval(end.interval), None, href))
        rows.append(Line(tuple(cells), kind="floor, controls, ceiling", line=True))
    columns = (Column("method", numeric=False), *(Column(t.name) for t in book.tables))
    caption = (
        "Gain over the floor in points with its simultaneous interval; each links to its seeds and records."
    )
    return Grid("overview", "Methods and tables", caption, columns, tuple(rows), filters=True)


def _across(book: Book, label: str, of: dict[str, Row], *, line: bool) -> Line:
    cells = [cell(label, label, f"methods/{book.slug_of(label)}.html", note="control" if line else "")]
    for one in book.tables:
        row = of.get(one.slug)
        status = next((a.status for a in one.board.absent if a.label == label), "-")
        href = f"tables/{one.slug}.html#{anchor(book, label)}"
        cells.append(cell(status, None) if row is None else gain_cell(row, one.board, href))
    return Line(tuple(cells), kind="floor, controls, ceiling" if line else "methods", line=line)


def across_grids(book: Book) -> list[Grid]:
    """Means across data sets, a grid for each set of hyper-parameter values."""
    grids: list[Grid] = []
    for values, found in across(book).items():
        rows = []
        for m in found:
            cells = (
                cell(m.label, m.label, f"methods/{book.slug_of(m.label)}.html"),
                cell(points(m.gain), round(m.gain.difference, 6)),
                cell(gap_text(m.gap), None if m.gap is None else round(m.gap.value, 6)),
                cell(str(m.datasets), m.datasets),
                cell(str(m.tables), m.tables),
                cell("-" if m.mean_rank is None else number(m.mean_rank), m.mean_rank),
            )
            rows.append(Line(cells))
        heads = ("mean gain", "gap recovered", "data sets", "tables", "mean rank")
        columns = (Column("method", numeric=False), *map(Column, heads))
        title = "Means across data sets" + (f", {values} values" if values != "paper" else "")
        grids.append(Grid(f"across-{len(grids)}", title, MEANS, columns, tuple(rows)))
    return grids


def gain_cell(row: Row, board: Board, href: str | None, *, bar: Bar | None = None) -> Cell:
    """A gain over the floor with its mark."""
    if row.gain is None:
        return cell("-")
    sign = mark(row, board)
    tone = TONES.get(sign, "")
    shown = sign + EDGE * bool(row.edge)
    said = verdict_text(row, board) if shown else ""
    return cell(
        points(row.gain), round(row.gain.difference, 6), href, mark=shown, said=said, tone=tone, bar=bar
    )


def anchor(book: Book, label: str) -> str:
    """Anchor of a row's seeds in the page of a table; different for every label of the book."""
    known = dict(zip(sorted(book.method_of), slugs(sorted(book.method_of)), strict=True))
    return f"seeds-{known[label]}"


def results_grid(book: Book, board: Board) -> Grid:
    """All rows of a table, ranked ones first."""
    place = _scale(board)
    taught = any(row.teacher for row in board.rows)  # older records name no teachers
    rows = []
    for row in board.rows:
        verdict = verdict_text(row, board)
        rank, gap = row.rank, row.gap
        seeds = f"#{anchor(book, row.label)}"
        cells: tuple[Cell, ...] = (
            cell(
                row.label, row.label, f"../methods/{book.slug_of(row.label)}.html", note=", ".join(row.marks)
            ),
            cell(interval(row.interval), round(row.interval.mean, 6), seeds),
            gain_cell(row, board, seeds, bar=place(row.gain)),
            cell("" if verdict == "-" else verdict, None if verdict == "-" else verdict),
            cell(gap_text(gap), None if gap is None else round(gap.value, 6)),
            cell(rank_text(rank), None if rank is None else rank.low + rank.high / 1000),
            cell(
                "-" if rank is None or rank.best is None else percent(rank.best),
                None if rank is None else rank.best,
            ),
            cell(str(len(row.seeds)), len(row.seeds), seeds),
        )
        if taught:
            teacher = teacher_text(row)
            cells = (*cells, cell(teacher, None if teacher == "-" else teacher))
        if status := status_of(book, row):
            cells = (*cells, cell(status.text, status.text))
        kind = "methods" if row.competes else "floor, controls, references"
        rows.append(Line(cells, kind=kind, line=not row.competes))
    metric = board.metric.title if board.metric else "result"
    heads = [metric, "gain over the floor", "verdict", "gap recovered", "rank", "P(best)", "seeds"]
    heads += ["teacher"] * taught + ["verification"] * bool(book.attestations)
    columns = [Column("method", numeric=False)]
    columns += [Column(head, head not in ("verdict", "teacher", "verification")) for head in heads]
    caption = (
        f"± is the 95 % interval of the mean over seeds. {INTERVALS} Rank 2 to 5: one row is significantly "
        "better, and so on (all pairs tested, Holm)."
    )
    return Grid("results", "Results", caption, tuple(columns), tuple(rows), filters=True)


def _scale(board: Board) -> Any:
    """Function from a gain to its bar, on one scale for the table."""
    gains = [row.gain for row in board.rows if row.gain is not None]
    ends = [x for g in gains for x in (g.difference, g.low, g.high) if x is not None] + [0.0]
    low, high = min(ends), max(ends)
    width = (high - low) or 1.0

    def pixel(value: float) -> float:
        return round(4 + (BAR - 8) * (value - low) / width, 1)

    def bar(gain: Comparison | None) -> Bar | None:
        if gain is None:
            return None
        bounds = [None if x is None else pixel(x) for x in (gain.low, gain.high)]
        return Bar(pixel(gain.difference), bounds[0], bounds[1], pixel(0.0))

    return bar


def controls_grid(book: Book, board: Board) -> Grid:
    """Methods against the controls."""
    names = list(dict.fromkeys(c.control for c in board.contrasts))
    found = {(c.label, c.control): c.comparison for c in board.contrasts}
    rows = []
    for label in dict.fromkeys(c.label for c in board.contrasts):
        cells = [cell(label, label, f"../methods/{book.slug_of(label)}.html")]
        for name in names:
            one = found.get((label, name))
            cells.append(cell(points(one), None if one is None else round(one.difference, 6)))
        rows.append(Line(tuple(cells)))
    columns = (Column("method", numeric=False), *(Column(f"against {name}") for name in names))
    caption = "Differences in points; a [ ] that excludes 0 is significant."
    return Grid("controls", "Against the controls", caption, columns, tuple(rows))


def pairs_grid(book: Book, board: Board) -> Grid:
    """The differences of all pairs of ranked rows."""
    matrix = matrix_of(board)
    heads, rows = [], []
    for place, (row, texts) in enumerate(zip(matrix.rows, matrix.cells, strict=True) if matrix else (), 1):
        heads.append(Column(str(place)))
        name = cell(f"{place}. {row.label}", place, f"../methods/{book.slug_of(row.label)}.html")
        rows.append(Line((name, *map(cell, texts))))
    columns = (Column(HEAD, numeric=False), *heads)
    return Grid("pairs", "All pairs", MATRIX, columns, tuple(rows), sortable=False)


def others_grid(book: Book, board: Board) -> Grid:
    """The other metrics."""
    metrics = list(dict.fromkeys(name for row in board.rows for name in row.others))
    rows = []
    for row in board.rows:
        cells = [cell(row.label, row.label)]
        for name in metrics:
            one = row.others.get(name)
            cells.append(cell("-" if one is None else interval(one[0]), None if one is None else one[0].mean))
        rows.append(Line(tuple(cells)))
    columns = (Column("method", numeric=False), *(Column(title_of(board, name)) for name in metrics))
    return Grid("others", "Other metrics", "± over seeds.", columns, tuple(rows) if metrics else ())


def mean_grid(mean: MeanTable, place: int) -> Grid:
    """A mean over protocols that the table is part of."""
    heads, *lines = mean.lines or [[]]
    rows = []
    for one, line in zip(mean.rows, lines, strict=True):
        gain = None if one.gain is None else one.gain.difference
        values = (one.row.label, one.interval.mean, gain, len(one.seeds), None)
        rows.append(Line(tuple(cell(text, value) for text, value in zip(line, values, strict=True))))
    columns = tuple(Column(head, numeric=0 < i < 4) for i, head in enumerate(heads))
    return Grid(f"mean-{place}", mean.title, f"{mean.sentence}.", columns, tuple(rows))


def costs_grid(book: Book, board: Board) -> Grid:
    """What runs at test, and the training of the whole plan."""
    rows = []
    for row in board.rows:
        cost = row.records[-1].cost
        parameters, macs = (cost.parameters, cost.macs) if cost else (None, None)
        cells = (
            cell(row.label, row.label),
            cell(quantity(parameters), parameters),
            cell(quantity(macs), macs),
            cell(str(row.networks), row.networks),
            cell(duration(row.train_seconds), row.train_seconds),
        )
        rows.append(Line(cells))
    heads = ("parameters", "MACs", "networks at test", "training")
    columns = (Column("method", numeric=False), *map(Column, heads))
    caption = "Parameters and MACs are of what runs at test; training is of the whole plan, without reuse."
    return Grid("costs", "Costs", caption, columns, tuple(rows))


def seeds_grid(book: Book, board: Board, files: Files) -> Grid:
    """The result of each seed, with a link to its record."""
    rows = []
    for row in board.rows:
        assert board.metric is not None, "a board with rows has a metric"
        by_seed = {r.cell.seed: r for r in row.records}
        cells = [cell(row.label, row.label)]
        for seed in board.seeds:
            record = by_seed.get(seed)
            if record is None:
                cells.append(cell("-"))
            else:
                value = record.metrics[board.metric.name]
                cells.append(Cell((files.link(record, number(value, 2)),), round(value, 6)))
        rows.append(Line(tuple(cells), id=anchor(book, row.label)))
    columns = (Column("method", numeric=False), *(Column(f"seed {seed}") for seed in board.seeds))
    metric = board.metric.title if board.metric else "result"
    caption = f"{capital(metric)} of each seed; every number links to its record."
    return Grid("seeds", "Seeds and records", caption, columns, tuple(rows))


def ablation_grid(book: Book, board: Board, place: int) -> Grid:
    """One ablation table of a board."""
    ablation = board.ablations[place]
    rows = []
    for row in ablation.rows:
        if row.row is not None:
            name = row.name or "the method itself"
            difference = row.comparison
            cells = (
                cell(name, name),
                cell(interval(row.row.interval), row.row.interval.mean),
                cell(points(difference), None if difference is None else difference.difference),
            )
            rows.append(Line(cells))
    columns = (Column("row", numeric=False), Column("result"), Column("difference"))
    caption = "Difference: points better than the method itself, paired over seeds."
    return Grid(f"ablation-{place}", f"Ablations of {ablation.label}", caption, columns, tuple(rows))


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]
