"""Average ranks over tables, and the methods that they do not tell apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pmbench.metrics.builtin import METRICS
from pmbench.report.boards import Board
from pmbench.report.pages.book import Book
from pmbench.report.pages.figures import draw, plan
from pmbench.report.pages.folder import pages
from pmbench.report.pages.front import ranks_reading
from pmbench.report.rows import Row
from pmbench.report.statistics import Interval
from pmbench.report.summary import average_ranks, critical_difference, joined_places


@pytest.mark.parametrize(("methods", "q"), [(2, 1.960), (5, 2.728), (10, 3.164)])
def test_the_quantile_is_that_of_the_published_table(methods: int, q: float) -> None:
    """Demsar 2006, table 5 (a)."""
    difference = critical_difference(methods, 7)
    assert difference / np.sqrt(methods * (methods + 1) / (6 * 7)) == pytest.approx(q, abs=5.1e-4)


@pytest.mark.parametrize(
    ("ranks", "bars"),
    [
        ([1.0, 2.0, 3.0], [(0, 1), (1, 2)]),
        ([1.0, 1.2, 1.4, 4.0], [(0, 2)]),
        ([1.0, 2.5, 4.0], []),  # 1.5 apart differ
        ([1.0, 1.0, 1.0], [(0, 2)]),
        ([1.0, 2.4, 2.6, 3.8, 6.0], [(0, 1), (1, 3)]),
    ],
)
def test_bars_join_what_lies_within_the_difference(ranks: list[float], bars: list[tuple[int, int]]) -> None:
    assert joined_places(ranks, 1.5) == bars


@pytest.fixture
def make_board(make_record: Any) -> Any:
    def board(dataset: str, means: dict[str, float], metric: str = "accuracy") -> Board:
        records = {name: make_record(name, dataset=dataset, count=20) for name in means}
        rows = [Row(name, (records[name],), Interval(mean, None, 1)) for name, mean in means.items()]
        floor = make_record("target_only", role="floor", dataset=dataset, count=20)
        rows.append(Row("target_only", (floor,), Interval(99.0, None, 1)))
        return Board(floor.cell, METRICS[metric], tuple(rows), (), None, None, (0,))

    return board


def test_ranks_are_averaged_over_the_data_sets(make_board: Any) -> None:
    first, second = {"a": 80.0, "b": 70.0, "c": 60.0}, {"a": 60.0, "b": 70.0, "c": 70.0}
    many = [make_board("x", first) for _ in range(9)] + [make_board("y", second)]
    found = average_ranks(many)
    assert found is not None
    # x: 1, 2, 3; y: 3, 1.5, 1.5; the floor has no rank
    assert dict(found.ranks) == {"a": 2.0, "b": 1.75, "c": 2.25}
    assert [label for label, _ in found.ranks] == ["b", "a", "c"]
    assert (found.datasets, found.tables, found.missing) == (2, 10, ())
    assert found.difference == pytest.approx(critical_difference(3, 2), abs=1e-6)
    assert found.bars == ((0, 2),)
    lower = average_ranks([make_board("x", first, "acer")] * 9 + [make_board("y", second, "acer")])
    assert lower is not None
    assert dict(lower.ranks) == {"a": 2.0, "b": 2.25, "c": 1.75}


def test_only_methods_of_all_tables_are_compared(make_board: Any) -> None:
    means = {"a": 80.0, "b": 75.0, "c": 60.0}
    boards = [make_board(f"d{i}", means | ({"rare": 90.0} if i else {})) for i in range(10)]
    found = average_ranks(boards)
    assert found is not None
    assert found.ranks == (("a", 1.0), ("b", 2.0), ("c", 3.0))
    assert found.missing == ("rare",)
    assert "Not on all tables: rare." in ranks_reading(found)
    assert average_ranks(boards[:9]) is None, "fewer than ten tables"
    assert average_ranks([make_board("x", means)] * 12) is None, "one data set"
    assert average_ranks([make_board(f"d{i}", {"a": 1.0, "b": 2.0}) for i in range(10)]) is None


def test_the_figure_is_on_the_page_of_means(make_record: Any) -> None:
    rows = (
        ("target_only", 0.5, "floor"),
        ("kd", 0.6, "method"),
        ("rad", 0.7, "method"),
        ("dad", 0.8, "method"),
    )
    records = [
        make_record(name, 0, right, role=role, dataset=f"d{i}", count=40)
        for i in range(10)
        for name, right, role in rows
    ]
    book = Book.of(records, figures=True)
    assert "critical difference" in draw(plan(book)["ranks"])[""]
    across = pages(book)["across.md"]
    assert "figures/ranks.svg" in across
    assert "It counts data sets, since tables of one data set share samples" in " ".join(across.split())
    fewer = Book.of([r for r in records if r.cell.dataset != "d0"], figures=True)
    assert "ranks" not in plan(fewer)
    assert "figures/ranks" not in pages(fewer)["across.md"]
    assert "figures/ranks" not in pages(Book.of(records))["across.md"]
