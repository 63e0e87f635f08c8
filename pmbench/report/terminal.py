"""The result of a run as a table in the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .boards import Board, boards
from .comparison import Row
from .record import Record
from .text import duration, gap_text, interval, number, options_text, p_text, points, printed_text, quantity

if TYPE_CHECKING:
    from rich.table import Table


def terminal_table(records: Iterable[Record]) -> Table:
    """A table with a row per method; each board ends with its skipped and failed cells and their reasons."""
    from rich.table import Table
    from rich.text import Text

    all_boards = boards(records)
    several = len(all_boards) > 1
    metrics = sorted({b.metric.title for b in all_boards if b.metric})
    titles = [
        metrics[0] if len(metrics) == 1 else "result",
        "95 % interval",
        "gap recovered",
        "parameters",
        "training",
    ]
    result = Table(title=None if several or not all_boards else all_boards[0].title, title_justify="left")
    for title in (["data set"] if several else []) + ["method"]:
        result.add_column(title, overflow="fold")
    for title in titles:
        result.add_column(title, justify="right")
    for board in all_boards:
        lines = [_line(row, board if len(metrics) > 1 else None) for row in board.rows]
        for absent in board.absent:
            lines.append([f"{absent.label}: {absent.text}", *[""] * len(titles)])
        for i, line in enumerate(lines):
            first = [board.title if i == 0 else ""] if several else []
            result.add_row(*map(Text, first + line), end_section=i == len(lines) - 1)
    return result


def ablation_tables(records: Iterable[Record]) -> list[Table]:
    """The ablation tables of the records, one per method and board."""
    from rich.table import Table
    from rich.text import Text

    found = []
    for board in boards(records):
        for ablation in board.ablations:
            title = f"Ablations of {ablation.label} on {board.title}"
            drawn = Table(title=title, title_justify="left")
            for column in ("row", "options"):
                drawn.add_column(column, overflow="fold")
            for column in (board.metric.title if board.metric else "result", "difference", "p"):
                drawn.add_column(column, justify="right")
            drawn.add_column("the paper's own number", overflow="fold")
            for row in ablation.rows:
                first = [row.name or "the method itself", options_text(row.options)]
                for absent in row.absent:
                    drawn.add_row(*map(Text, [f"{first[0]}: {absent.text}", first[1]]))
                if row.row is not None:
                    p = "-" if row.p is None else p_text(row.p)
                    line = [
                        *first,
                        interval(row.row.interval),
                        points(row.comparison),
                        p,
                        printed_text(row.printed),
                    ]
                    drawn.add_row(*map(Text, line))
            found.append(drawn)
    return found


def _line(row: Row, board: Board | None) -> list[str]:
    mean, half = row.interval.mean, row.interval.half
    metric = f" {board.metric.title}" if board and board.metric else ""
    cost = row.records[-1].cost
    return [
        row.label + (f" ({', '.join(row.marks)})" if row.marks else ""),
        number(mean, 2) + metric,
        "-" if half is None else f"{number(mean - half, 2)} to {number(mean + half, 2)}",
        gap_text(row.gap),
        quantity(cost.parameters if cost else None),
        duration(row.train_seconds),
    ]
