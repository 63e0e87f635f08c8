"""The result of a run as a table in the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from .boards import Board, boards
from .record import Record
from .rows import Row
from .text import (
    duration,
    gap_text,
    interval,
    number,
    options_text,
    p_text,
    points,
    printed_text,
    quantity,
    rank_text,
)
from .verdicts import left_lines, short_verdict, teacher_lines

if TYPE_CHECKING:
    from rich.table import Table


WIDE = 150
"""Columns of a terminal that all columns of the table need."""


def terminal_table(records: Iterable[Record], width: int = WIDE) -> Table:
    """A table with a row per method; each board ends with its skipped and failed cells.

    On a terminal of less than WIDE columns verdicts stand below the table; ranks and costs are left out.
    """
    from rich.table import Table
    from rich.text import Text

    all_boards = boards(records)
    several = len(all_boards) > 1
    metrics = sorted({b.metric.title for b in all_boards if b.metric})
    narrow = width < WIDE
    titles = [metrics[0] if len(metrics) == 1 else "result", "gain over floor"]
    titles += ["gap recovered"] if narrow else ["verdict", "rank", "gap recovered", "parameters", "training"]
    result = Table(title=None if several or not all_boards else all_boards[0].title, title_justify="left")
    caption = _caption(all_boards)
    sentences = _verdicts(all_boards) if narrow else []
    sentences += [x for board in all_boards for x in (*teacher_lines(board), *left_lines(board))]
    caption = "\n".join([*sentences, *([caption] if caption else [])]) or None
    result.caption, result.caption_justify = None if caption is None else Text(caption), "left"
    for title in (["data set"] if several else []) + ["method"]:
        result.add_column(title, overflow="fold")
    for title in titles:
        result.add_column(title, justify="right")
    for board in all_boards:
        lines = [_line(row, board, len(metrics) > 1, narrow) for row in board.rows]
        for absent in board.absent:
            lines.append([f"{absent.label}: {absent.brief}", *[""] * len(titles)])
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
                    drawn.add_row(*map(Text, [f"{first[0]}: {absent.brief}", first[1]]))
                if row.row is not None:
                    p = p_text(None if row.comparison is None else row.comparison.adjusted)
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


def _caption(all_boards: Sequence[Board]) -> str | None:
    """What the intervals mean, and what the tests could have found; None if nothing was tested."""
    found = {
        board.title: number(board.smallest_gain) for board in all_boards if board.smallest_gain is not None
    }
    if not found:
        return None
    several = len(all_boards) > 1
    smallest = ", ".join(
        f"{value} points" + (f" on {title}" if several else "") for title, value in found.items()
    )
    return (
        "± is a 95 % interval over seeds; [ ] hold for all methods of a table together: a gain is "
        f"significant if its [ ] excludes 0. A true gain of {smallest} would be found with 80 % probability."
    )


def _verdicts(all_boards: Sequence[Board]) -> list[str]:
    several = len(all_boards) > 1
    return [
        f"{row.label}{f' on {board.title}' if several else ''}: {verdict}"
        for board in all_boards
        for row in board.rows
        if (verdict := short_verdict(row, board)) != "-"
    ]


def _line(row: Row, board: Board, named: bool, narrow: bool) -> list[str]:
    metric = f" {board.metric.title}" if named and board.metric else ""
    cost = row.records[-1].cost
    marks = row.marks[:1] if narrow else row.marks
    first = [
        row.label + (f" ({', '.join(marks)})" if marks else ""),
        interval(row.interval) + metric,
        points(row.gain),
    ]
    if narrow:
        return [*first, gap_text(row.gap)]
    return [
        *first,
        short_verdict(row, board),
        rank_text(row.rank),
        gap_text(row.gap),
        quantity(cost.parameters if cost else None),
        duration(row.train_seconds),
    ]
