"""The result of a run as a table in the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .assembly import boards
from .board import Board, Row, seeds_text
from .record import Record
from .text import duration, gap_text, number, quantity

if TYPE_CHECKING:
    from rich.table import Table


def terminal_table(records: Iterable[Record]) -> Table:
    """A row per method; skipped and failed cells, with reasons, at the end of each data set and protocol."""
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
            reason = " ".join(absent.reason.split())
            what = f"{absent.status} ({seeds_text(absent.seeds)}): {reason}"
            lines.append([f"{absent.label}: {what}", *[""] * len(titles)])
        for i, line in enumerate(lines):
            first = [board.title if i == 0 else ""] if several else []
            result.add_row(*map(Text, first + line), end_section=i == len(lines) - 1)
    return result


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
