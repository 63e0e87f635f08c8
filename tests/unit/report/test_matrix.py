"""The matrix of all pairs shows the tests that the ranks come from."""

from __future__ import annotations

from typing import Any

import pytest
from drawn import line, tables

from pmbench.report.boards import boards
from pmbench.report.pages.book import Book
from pmbench.report.pages.grids import pairs_grid
from pmbench.report.pages.matrix import matrix_of, matrix_text
from pmbench.report.record import Record


def test_cells_are_the_pairs_of_the_ranks(every_kind: list[Record]) -> None:
    (board,) = boards([r for r in every_kind if r.cell.dataset == "toy"])
    matrix = matrix_of(board)
    assert matrix is not None
    assert [row.label for row in matrix.rows] == [row.label for row in board.rows if row.rank]
    for place, (row, cells) in enumerate(zip(matrix.rows, matrix.cells, strict=True)):
        assert row.rank is not None
        assert cells[place] == ""
        assert sum(cell.startswith("-") for cell in cells) == row.rank.low - 1
        assert sum(cell.startswith("+") for cell in cells) == row.rank.count - row.rank.high
    flipped = str.maketrans("+-", "-+")
    turned = [[cell.translate(flipped) for cell in column] for column in zip(*matrix.cells, strict=True)]
    assert turned == [list(cells) for cells in matrix.cells]
    means = {row.label: row.interval.mean for row in board.rows}
    text = tables(every_kind)
    first = line(text, "| 1. `hoffman`").split(" | ")
    assert first[-1] == f"{means['hoffman'] - means['target_only']:+.1f} |"
    assert "·" in first


def test_a_metric_that_is_better_if_lower_has_the_sign_of_the_better_row(make_record: Any) -> None:
    rows = (("target_only", 0.3, "floor"), ("kd", 0.6, "method"), ("rad", 0.9, "method"))
    records = [
        make_record(name, seed, right, role=role, classes=2, metric="acer")
        for name, right, role in rows
        for seed in range(3)
    ]
    (board,) = boards(records)
    matrix = matrix_of(board)
    assert matrix is not None
    assert [row.label for row in matrix.rows] == ["rad", "kd", "target_only"]
    assert matrix.cells[0][2].startswith("+")


def test_there_is_no_matrix_where_it_would_say_nothing(make_record: Any) -> None:
    def board(names: tuple[str, ...], seeds: int) -> Any:
        return boards([make_record(n, s, 0.5 + i / 9) for i, n in enumerate(names) for s in range(seeds)])[0]

    assert matrix_of(board(("a", "b"), 3)) is None
    assert matrix_of(board(("a", "b", "c"), 1)) is None, "one seed is not tested"
    assert matrix_of(board(("a", "b", "c"), 2)) is not None
    assert matrix_text(board(("a", "b"), 3)) == []


@pytest.mark.parametrize(("count", "blocks"), [(16, 1), (30, 2)])
def test_no_line_is_longer_than_a_page(make_record: Any, count: int, blocks: int) -> None:
    names = [f"target_ensemble{i}" if i == 3 else f"hallucinate_{i}" for i in range(count)]
    records = [make_record(n, s, 0.1 + 0.8 * i / count) for i, n in enumerate(names) for s in range(4)]
    (board,) = boards(records)
    text = matrix_text(board)[2:]
    assert len(text) == blocks
    assert max(len(x) for part in text for x in part.splitlines()) <= 160
    columns = [head for part in text for head in part.splitlines()[0].strip("| ").split(" | ")[1:]]
    assert columns == [str(place) for place in range(1, count + 1)]
    grid = pairs_grid(Book.of(records), board)
    assert [c.title for c in grid.columns[1:]] == columns
    parts = [[x.strip("|").split(" | ")[1:] for x in part.splitlines()[2:]] for part in text]
    for place, row in enumerate(grid.rows):
        written = [cell.strip() for part in parts for cell in part[place]]
        assert [cell.parts[0].text for cell in row.cells[1:]] == written
