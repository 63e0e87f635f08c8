"""The result of a run as tables in the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from . import headlines
from .averages import mean_tables
from .boards import Board
from .headlines import INTERVALS, ROLES, marked, names, sentence
from .record import Record
from .rows import Row, label_of
from .text import gap_text, interval, options_text, p_text, points, printed_text, seeds_text
from .verdicts import left_lines, teacher_lines

if TYPE_CHECKING:
    from rich.table import Table


def terminal_tables(boards: Sequence[Board]) -> list[Table]:
    """A table per board, 80 columns wide for usual names: its sentence, its methods, lines to compare.

    The words are those of the front page.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    found = []
    for board, name in zip(boards, names(boards), strict=True):
        title = Text(f"{name}: {sentence(board)}.", style="bold")
        drawn = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, title=title, title_justify="left")
        drawn.add_column("method", overflow="fold")
        for head in (board.metric.title if board.metric else "result", "gain over floor", "gap recovered"):
            drawn.add_column(head, justify="right", no_wrap=True)
        ranked = [row for row in board.rows if row.competes]
        for row in ranked:
            drawn.add_row(*map(Text, _line(row, board)))
        for absent in board.absent:
            drawn.add_row(*map(Text, (absent.label, absent.status, "-", "-")))
        drawn.add_section()
        for row in (row for row in board.rows if row not in ranked):
            drawn.add_row(*map(Text, _line(row, board)))
        if lines := [*teacher_lines(board), *left_lines(board)]:
            drawn.caption, drawn.caption_justify = Text("\n".join(lines)), "left"
        found.append(drawn)
    return found


def means(boards: Sequence[Board]) -> list[Table]:
    """A table for each mean over protocols, of those that were run whole."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    found = []
    for mean in (mean for mean in mean_tables(boards) if mean.rows):
        title = Text(f"{mean.title}: {mean.sentence}.", style="bold")
        drawn = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, title=title, title_justify="left")
        for place, head in enumerate(mean.lines[0]):
            drawn.add_column(head, justify="right" if 0 < place < 4 else "left", overflow="fold")
        for line in mean.lines[1:]:
            drawn.add_row(*map(Text, line))
        found.append(drawn)
    return found


def legend(boards: Sequence[Board]) -> str:
    """What intervals, marks and roles mean; empty without a table."""
    if not boards:
        return ""
    return f"± is a 95 % interval over seeds. {INTERVALS} {headlines.legend(boards)}. {ROLES}"


def ablation_tables(boards: Sequence[Board]) -> list[Table]:
    """The ablation tables of the boards, one per method and board."""
    from rich.table import Table
    from rich.text import Text

    found = []
    for board in boards:
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


def without_result(records: Iterable[Record]) -> list[str]:
    """A line for each reason why cells have no result: `skipped: label (seeds): reason`."""
    found: dict[tuple[str, str], dict[str, list[int]]] = {}
    for record in records:
        if record.status != "done":
            labels = found.setdefault((record.status, record.reason or ""), {})
            labels.setdefault(label_of(record.cell), []).append(record.cell.seed)
    lines = []
    for (status, reason), labels in found.items():
        named = ", ".join(f"{label} ({seeds_text(seeds)})" for label, seeds in labels.items())
        lines.append(f"{status}: {named}: {reason}")
    return lines


def _line(row: Row, board: Board) -> list[str]:
    marks = row.marks[:1]  # the others are on the pages
    label = row.label + (f" ({marks[0]})" if marks else "")
    return [label, interval(row.interval), marked(row, board), gap_text(row.gap)]
