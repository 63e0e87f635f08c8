"""Teachers of the rows of a board, and comparisons of methods that have equal ones."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from drawn import render

from pmbench.report.boards import Board, boards
from pmbench.report.pages.book import Book
from pmbench.report.pages.formats import to_csv
from pmbench.report.pages.grids import results_grid
from pmbench.report.pages.site import site
from pmbench.report.record import Record
from pmbench.report.verdicts import teacher_text


def taught(records: list[Record], teacher: str, by: list[Record] | None = None) -> list[Record]:
    """The records, with the last stages of `by` as parents of their own."""
    found = []
    for record, other in zip(records, by or [None] * len(records), strict=True):  # type: ignore[list-item]
        stages = list(record.stages)
        if other is not None:
            parent = other.stages[0].model_copy(update={"seconds": 0.0, "steps": 0})
            stages = [parent, stages[0].model_copy(update={"parents": [parent.key]})]
        cell = record.cell.model_copy(update={"teacher": teacher})
        found.append(record.model_copy(update={"cell": cell, "stages": stages}))
    return found


@pytest.fixture
def records(make_record: Any) -> dict[str, list[Record]]:
    def rows(method: str, right: float, **fields: Any) -> list[Record]:
        return [make_record(method, seed, right, **fields) for seed in range(5)]

    early = rows("early_fusion", 0.80, role="ceiling", tests_on="all")
    alone = rows("privileged_only", 0.95, role="reference", tests_on="privileged")
    return {
        "floor": rows("target_only", 0.60, role="floor"),
        "early": early,
        "alone": alone,
        "kd": taught(rows("kd", 0.62), "early_fusion", early),
        "kd, privileged": taught(
            rows("kd", 0.82, options={"teacher": "privileged"}), "privileged_only", alone
        ),
        "gen_distill": taught(rows("gen_distill", 0.70), "privileged_only", alone),
        "hoffman": taught(rows("hoffman", 0.83), "privileged_only", alone),
        "admd": taught(rows("admd", 0.90), "privileged_only"),
        "amid": taught(rows("amid", 0.90), "own"),
    }


def board_of(records: dict[str, list[Record]]) -> Board:
    (board,) = boards([r for some in records.values() for r in some])
    return board


def test_a_teacher_is_named_with_its_own_result(records: dict[str, list[Record]]) -> None:
    rows = {row.label: row for row in board_of(records).rows}
    mean = {name: rows[name].interval.mean for name in ("early_fusion", "privileged_only")}
    assert teacher_text(rows["kd"]) == f"early_fusion {mean['early_fusion']:.1f}"
    assert teacher_text(rows["kd[teacher=privileged]"]) == f"privileged_only {mean['privileged_only']:.1f}"
    assert teacher_text(rows["admd"]) == "like privileged_only", "it trains a network of its own"
    assert teacher_text(rows["amid"]) == "own"
    assert teacher_text(rows["target_only"]) == "-"


def test_methods_are_compared_under_equal_teachers(records: dict[str, list[Record]]) -> None:
    board = board_of(records)
    (group,) = board.equal_teachers
    assert group.teacher.label == "privileged_only"
    ranks = {row.label: (rank.low, rank.high) for row, rank in group.ranks}
    assert ranks == {"kd[teacher=privileged]": (1, 2), "hoffman": (1, 2), "gen_distill": (3, 3)}
    (change,) = board.teacher_changes
    assert (change.label, change.against) == ("kd[teacher=privileged]", "kd")
    rows = {row.label: row.interval.mean for row in board.rows}
    assert change.comparison.difference == pytest.approx(rows["kd[teacher=privileged]"] - rows["kd"])
    assert change.comparison.significant


def test_the_board_says_so(records: dict[str, list[Record]]) -> None:
    text = render([r for some in records.values() for r in some])
    assert "| teacher |" in text
    plain = " ".join(text.split())
    assert "hoffman has rank 1 to 2" in plain
    assert "kd[teacher=privileged] against kd: +" in plain
    old = render([*records["floor"], *records["early"]])
    assert "teacher" not in old


def test_the_site_and_the_csv_name_teachers(records: dict[str, list[Record]]) -> None:
    book = Book.of([r for some in records.values() for r in some])
    grid = results_grid(book, book.boards[0])
    assert grid.columns[-1].title == "teacher"
    shown = {line.cells[0].parts[0].text: line.cells[-1].parts[0].text for line in grid.rows}
    assert shown["hoffman"].startswith("privileged_only ")
    assert shown["target_only"] == "-"
    lines = {line["method"]: line for line in csv.DictReader(io.StringIO(to_csv(book)))}
    assert lines["hoffman"]["teacher"] == "privileged_only"
    alone = float(lines["privileged_only"]["result"])
    assert float(lines["hoffman"]["teacher_result"]) == pytest.approx(alone)
    assert lines["target_only"]["teacher"] == ""
    page = site(book, [])[f"tables/{book.slugs[0]}.html"]
    assert "hoffman has rank 1 to 2" in page
    old = Book.of([*records["floor"], *records["early"]])
    assert "teacher" not in {column.title for column in results_grid(old, old.boards[0]).columns}


def test_without_the_row_of_the_teacher_only_its_name_is_known(records: dict[str, list[Record]]) -> None:
    del records["alone"]
    board = board_of(records)
    rows = {row.label: row for row in board.rows}
    assert teacher_text(rows["hoffman"]) == "like privileged_only"
    assert board.equal_teachers == ()
