"""The differences of all pairs of ranked rows, as a matrix."""

from __future__ import annotations

from dataclasses import dataclass

from ..boards import Board
from ..rows import Row
from ..text import code, number, table, wrap
from .book import WIDTH

FEWEST = 3
"""Ranked rows below which there is no matrix: the ranks say it all."""
SAME, UNKNOWN = "·", "-"
"""Cells of pairs without a significant difference, and of pairs that are not compared."""
HEAD = "row minus column"
HOW_TO_READ = (
    "Row minus column in points, positive if the row is better, where the difference is significant (all "
    f"pairs tested, Holm: the tests of the ranks); {SAME} is no significant difference. Columns have the "
    "numbers of the rows."
)


@dataclass(frozen=True)
class Matrix:
    """`rows` in the order of the table. `cells`: a text for each pair, row by row, empty on the diagonal."""

    rows: tuple[Row, ...]
    cells: tuple[tuple[str, ...], ...]


def matrix_of(board: Board) -> Matrix | None:
    """The matrix of a board; None for few ranked rows, or where no pair can be tested."""
    rows = tuple(row for row in board.rows if row.rank is not None)
    if len(rows) < FEWEST or all(test.p is None for test in board.pairs):
        return None
    found = {}
    for test in board.pairs:
        for pair, value in (
            ((test.first, test.second), test.difference),
            ((test.second, test.first), -test.difference),
        ):
            found[pair] = number(value, 1, sign=True) if test.significant else SAME
    cells = tuple(
        tuple("" if one is other else found.get((one.label, other.label), UNKNOWN) for other in rows)
        for one in rows
    )
    return Matrix(rows, cells)


def matrix_text(board: Board) -> list[str]:
    """The matrix in markdown, in blocks of as many columns as a line holds."""
    matrix = matrix_of(board)
    if matrix is None:
        return []
    heads = [f"{place}. {code(row.label)}" for place, row in enumerate(matrix.rows, 1)]
    widths = [
        max(len("---:"), *(len(line[place - 1]) for line in matrix.cells)) + len(" | ")
        for place in range(1, len(heads) + 1)
    ]
    blocks: list[list[int]] = [[]]
    used = first = max(map(len, [HEAD, *heads])) + len("|  |")
    for place, width in enumerate(widths):
        if blocks[-1] and used + width > WIDTH:
            blocks.append([])
            used = first
        blocks[-1].append(place)
        used += width
    parts = []
    for block in blocks:
        lines = [[HEAD, *(str(place + 1) for place in block)]]
        lines += [[head, *(line[p] for p in block)] for head, line in zip(heads, matrix.cells, strict=True)]
        parts.append(table(lines, left=(0,)))
    return ["## All pairs", wrap(HOW_TO_READ), *parts]
