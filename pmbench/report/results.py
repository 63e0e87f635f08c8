"""Records in Python: as tables in markdown, pandas, the terminal and a notebook."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from ..errors import RecordError, UsageError, plural
from .averages import mean_tables
from .boards import Board, boards
from .headlines import marked, names, sentence
from .record import Record
from .record_files import read_files, read_record
from .rows import Row
from .terminal import ablation_tables, legend, means, terminal_tables, without_result
from .text import gap_text, interval

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Console, ConsoleOptions, RenderResult


def pandas_module() -> Any:
    """The module pandas; raises UsageError where it is not installed."""
    try:
        import pandas
    except ImportError as error:
        raise UsageError(
            "to_pandas needs pandas, which is not installed here; expected pandas 2 or newer",
            "`python -m pip install pandas`, or use to_markdown() and the records themselves",
        ) from error
    return pandas


def html_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """An HTML table of texts, the first column to the left and the others to the right."""

    def row(cells: Sequence[str], tag: str) -> str:
        sides = ["left", *["right"] * (len(cells) - 1)]
        found = (
            f'<{tag} style="text-align:{side}">{escape(cell)}</{tag}>'
            for side, cell in zip(sides, cells, strict=True)
        )
        return f"<tr>{''.join(found)}</tr>"

    body = "".join(row(line, "td") for line in lines)
    return f"<table><thead>{row(head, 'th')}</thead><tbody>{body}</tbody></table>"


@dataclass(frozen=True)
class Figure:
    """A figure of a leaderboard as SVG, which notebooks show. `alternative` says what it shows."""

    svg: str = field(repr=False)
    alternative: str

    def _repr_svg_(self) -> str:
        return self.svg


@dataclass(frozen=True)
class Results(Sequence[Record]):
    """Records, and the tables that compare them; printed by rich and by notebooks as `pmbench run` does.

    `records` are in the order of the cells, with `status` "done", "skipped" or "failed". `folder` holds the
    files of a run. `trained` is the number of stages that the run has trained, `reused` that of the cells
    which were finished before.
    """

    records: tuple[Record, ...]
    folder: Path | None = None
    trained: int = 0
    reused: int = 0

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Results: ...
    def __getitem__(self, index: int | slice) -> Record | Results:
        return Results(self.records[index]) if isinstance(index, slice) else self.records[index]

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __repr__(self) -> str:
        done = sum(record.status == "done" for record in self.records)
        found, tables = plural(len(self.records), "record"), plural(len(self.boards), "table")
        return f"Results({found}, {done} with a result, {tables})"

    @cached_property
    def boards(self) -> list[Board]:
        """A table for each data set, protocol, choice of backbones, recipe and set of values."""
        return boards(self.records)

    def to_markdown(self) -> str:
        """The tables of `pmbench leaderboard --format md`."""
        from .pages.book import Book
        from .pages.formats import to_markdown

        return to_markdown(Book.of(self.records))

    def to_pandas(self) -> DataFrame:
        """A row for each row of each table, with the columns of `pmbench leaderboard --format csv`.

        Results and gains are in percent and points, shares and probabilities from 0 to 1. Raises UsageError
        where pandas is not installed.
        """
        from .pages.book import Book
        from .pages.formats import to_csv

        return pandas_module().read_csv(io.StringIO(to_csv(Book.of(self.records))))

    def figures(self, *, dark: bool = False) -> dict[str, Figure]:
        """Name -> figure of all figures of `pmbench leaderboard`; needs matplotlib."""
        from .pages.book import Book
        from .pages.figures import draw, plan

        kind = "-dark" if dark else ""
        planned = plan(Book.of(self.records, figures=True))
        return {name: Figure(draw(one)[kind], one.alternative) for name, one in planned.items()}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        yield from terminal_tables(self.boards)
        yield from means(self.boards)
        yield Text(legend(self.boards))
        yield from ablation_tables(self.boards)
        yield from map(Text, without_result(self.records))

    def _repr_html_(self) -> str:
        parts = []
        for board, name in zip(self.boards, names(self.boards), strict=True):
            metric = board.metric.title if board.metric else "result"
            rows = sorted(board.rows, key=lambda row: not row.competes)
            lines = [_line(row, board) for row in rows]
            lines += [[absent.label, absent.status, "-", "-"] for absent in board.absent]
            parts.append(f"<p><b>{escape(name)}: {escape(sentence(board))}.</b></p>")
            parts.append(html_table(["method", metric, "gain over floor", "gap recovered"], lines))
        for mean in (mean for mean in mean_tables(self.boards) if mean.rows):
            parts.append(f"<p><b>{escape(mean.title)}: {escape(mean.sentence)}.</b></p>")
            parts.append(html_table(mean.lines[0], mean.lines[1:]))
        notes = [note for note in (legend(self.boards), *without_result(self.records)) if note]
        return "".join([*parts, *(f"<p>{escape(note)}</p>" for note in notes or ["No records."])])


def _line(row: Row, board: Board) -> list[str]:
    label = row.label + (f" ({row.marks[0]})" if row.marks else "")
    return [label, interval(row.interval), marked(row, board), gap_text(row.gap)]


def records(path: str | Path = "results") -> Results:
    """The records in a folder of results, in a folder of records, or in one file.

    Files that are no records are left out with a warning. Raises UsageError for a path that is not there and
    RecordError for one without a record.

    >>> pmbench.records("results").to_markdown()  # doctest: +SKIP
    """
    place = Path(path)
    if not place.exists():
        raise UsageError(
            f"{place} does not exist; expected a folder of records or the file of one",
            "give the folder that `pmbench run --out` wrote, results by default",
        )
    if place.is_file():
        return Results((read_record(place),))
    inside = place / "records"
    found, problems = read_files(inside if inside.is_dir() else place)
    for problem in problems:
        warnings.warn(problem.message, stacklevel=2)
    if not found:
        raise RecordError(
            f"{place} holds no records; expected JSON files of `pmbench run`",
            "give the folder that `pmbench run --out` wrote, results by default",
        )
    return Results(tuple(found.values()), place)
