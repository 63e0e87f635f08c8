"""Verdicts that hang on a single seed."""

from __future__ import annotations

import csv
from io import StringIO

import numpy as np
import pytest
from drawn import front, tables

from pmbench.report.boards import Board, boards
from pmbench.report.headlines import EDGE, marked, names
from pmbench.report.pages.book import Book
from pmbench.report.pages.formats import to_csv
from pmbench.report.record import Record
from pmbench.report.terminal import legend, terminal_tables
from pmbench.report.verdicts import method_lines, short_verdict


def board_of(records: list[Record]) -> Board:
    (board,) = boards(records)
    return board


def verdicts(board: Board) -> dict[str, str]:
    return {row.label: short_verdict(row, board) for row in board.rows if row.competes}


def drawn(make_record, seeds: int, number: int) -> list[Record]:
    """A table whose gains are near the border of significance, with noise over seeds."""
    rng = np.random.default_rng(number)
    found = []
    for seed in range(seeds):
        found.append(make_record("target_only", seed, 0.60 + 0.02 * rng.normal(), role="floor"))
        found.append(make_record("self_distill", seed, 0.60 + 0.02 * rng.normal(), role="control"))
        for name, gain in (("kd", 0.09), ("amid", 0.03), ("hoffman", 0.05), ("mdms", 0.0), ("dad", -0.05)):
            found.append(make_record(name, seed, 0.60 + gain + 0.02 * rng.normal()))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [5, pytest.param(10, marks=pytest.mark.slow)])
def test_a_row_is_on_the_edge_of_the_seeds_without_which_the_board_says_otherwise(make_record, seeds):
    edges = []
    for number in range(4):
        records = drawn(make_record, seeds, number)
        board = board_of(records)
        said = verdicts(board)
        without = {s: verdicts(board_of([r for r in records if r.cell.seed != s])) for s in range(seeds)}
        expected = {label: tuple(s for s in without if without[s][label] != said[label]) for label in said}
        assert {row.label: row.edge for row in board.rows if row.competes} == expected
        edges += expected.values()
    assert any(edges), "some rows are on the edge"
    assert not all(edges), "and some are not"


def test_few_seeds_say_nothing_about_the_edge(make_record):
    assert not any(row.edge for row in board_of(drawn(make_record, 4, 0)).rows)


@pytest.mark.parametrize("kept", [(0,), (0, 1)])
def test_a_row_of_one_or_two_seeds_is_on_no_edge_for_want_of_seeds(make_record, kept):
    records = [r for r in drawn(make_record, 10, 2) if r.cell.method != "kd" or r.cell.seed in kept]
    (kd,) = [row for row in board_of(records).rows if row.label == "kd"]
    assert (kd.gain.adjusted is None) is (len(kept) == 1)
    assert not set(kd.edge) & set(kept)


def test_the_edge_is_said_on_pages_in_the_terminal_and_in_the_csv(make_record):
    records = drawn(make_record, 10, 3)
    board = board_of(records)
    row = next(row for row in board.rows if row.edge)
    line = next(line for line in method_lines(board) if line.startswith(f"{row.label}: "))
    assert "; on the edge: another verdict without " in line
    assert str(row.edge[0]) in line.partition("on the edge")[2]
    assert f"{marked(row, board)} |" in tables(records)
    assert f"{EDGE} on the edge: without one of the seeds the verdict is another" in " ".join(
        front(records).split()
    )
    assert EDGE in legend([board])
    (shown,) = terminal_tables([board])
    assert any(str(cell).endswith(EDGE) for cell in shown.columns[2].cells)
    (cells,) = [c for c in csv.DictReader(StringIO(to_csv(Book.of(records)))) if c["method"] == row.label]
    assert cells["edge"] == "+".join(map(str, row.edge))
    calm = drawn(make_record, 3, 3)
    assert EDGE not in front(calm)
    assert names([board]) == ["toy, split-1"]
