"""Figures show what the records say, and their bytes depend on nothing else."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from drawn import tables

from pmbench.report.pages.book import Book
from pmbench.report.pages.figures import DARK, LIGHT, Planned, darkened, digest_in, draw, plan, shown_on
from pmbench.report.pages.folder import check, write
from pmbench.report.pages.plots import costs
from pmbench.report.pages.shown import Costs, Point, gains_of, labels_a_class, labels_of
from pmbench.report.record import Record


@pytest.fixture
def by_labels(make_record: Any) -> list[Record]:
    rows = (("target_only", 0.6, "floor"), ("kd", 0.7, "method"))
    return [
        make_record(method, seed, right + gain, role=role, protocol=protocol)
        for protocol, gain in (("few-3", 0.0), ("few-10", 0.05), ("official", 0.15), ("privileged-25", 0.1))
        for seed in (0, 1, 2)
        for method, right, role in rows
    ]


def test_every_figure_is_svg_with_its_digest(by_labels: list[Record]) -> None:
    planned = plan(Book.of(by_labels))
    assert {p.kind for p in planned.values()} == {"overview", "gains", "costs", "curves", "labels"}
    for kind in ("overview", "gains", "costs", "curves", "labels"):
        one = next(p for p in planned.values() if p.kind == kind)
        for svg in draw(one).values():
            assert ET.fromstring(svg).tag.endswith("svg")
            assert digest_in(svg) == one.digest


def test_the_dark_form_has_all_its_colours_replaced() -> None:
    assert len(set(LIGHT.values())) == len(LIGHT)
    text = " ".join(LIGHT.values())
    assert darkened(text) == " ".join(DARK.values())


def test_gains_are_those_of_the_seeds(every_kind: list[Record]) -> None:
    book = Book.of([r for r in every_kind if r.cell.dataset == "toy"])
    shown = gains_of(book.boards[0], "toy")
    values = {
        (r.cell.method, r.cell.seed): r.metrics.get("accuracy", 0.0)
        for r in every_kind
        if r.cell.dataset == "toy"
    }
    (hoffman,) = [row for row in shown.rows if row.label == "hoffman"]
    expected = [values["hoffman", seed] - values["target_only", seed] for seed in (0, 1, 2)]
    assert hoffman.seeds == pytest.approx(expected)
    assert hoffman.value == pytest.approx(sum(expected) / 3, abs=1e-5)
    assert hoffman.verdict == "beats floor and controls"
    assert [label for label, _ in shown.controls] == ["self_distill", "target_ensemble"]
    assert shown.gap is not None
    assert shown.gap[0] == "early_fusion"


def test_the_front_holds_what_nothing_beats() -> None:
    from pmbench.report.pages.plots import front_of

    def point(label: str, value: float, given: bool = False) -> Point:
        return Point(label, value, None, 0.0, given)

    points = [
        (1.0, point("a", 60.0)),
        (1.0, point("b", 61.0)),
        (2.0, point("c", 61.0)),
        (3.0, point("d", 70.0)),
    ]
    points.append((1.0, point("given", 90.0, given=True)))
    assert [p.label for _, p in front_of(points)] == ["b", "d"]
    assert [p.label for _, p in front_of(points, higher_is_better=False)] == ["a"]


def test_of_many_points_in_one_place_those_of_the_front_are_named() -> None:
    points = [Point(f"method-{n}", 70.0 + n / 100, 1e6, 10.0, given=False) for n in range(40)]
    left, _ = costs(Costs("t", "accuracy", True, tuple(points))).axes
    named = {text.get_text(): text.get_position()[1] for text in left.texts}
    assert "method-39" in named
    assert 2 < len(named) < 40
    low, high = left.get_ylim()
    heights = sorted(named.values())
    gaps = [b - a for a, b in pairwise(heights)]
    assert min(gaps) > 0.11 * (high - low) / 4.3


@pytest.mark.parametrize(
    ("protocol", "count"),
    [
        ("few-3", 3.0),
        ("few-10@acc", 10.0),
        ("official", float("inf")),
        ("cross-subject@acc", float("inf")),
        ("few-3+privileged-25", None),
        ("privileged-25", None),
        ("shared-10", None),
    ],
)
def test_labels_a_class(protocol: str, count: float | None) -> None:
    assert labels_a_class(protocol) == count


def test_gains_by_number_of_labels(by_labels: list[Record]) -> None:
    book = Book.of(by_labels, figures=True)
    (shown,) = labels_of(book).values()
    assert shown.places == ("3", "10", "all")
    ((label, gains),) = shown.rows
    assert label == "kd"
    assert all(gain is not None for gain in gains)
    assert labels_of(Book.of([r for r in by_labels if r.cell.protocol != "few-3"])) == {}
    assert "labels-toy" in shown_on("tables/toy-few-10", plan(book))
    assert "labels-toy" not in shown_on("tables/toy-privileged-25", plan(book))
    assert "figures" not in tables(by_labels)


def test_figures_are_drawn_again_only_where_they_show_something_else(
    by_labels: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_labels = by_labels[:6]
    path, book = tmp_path / "README.md", Book.of(by_labels, figures=True)
    write(path, book)
    assert check(path, book) == ""
    monkeypatch.setattr("pmbench.report.pages.folder.draw", None)
    write(path, book)
    other = by_labels[0].model_copy(
        update={"cost": by_labels[0].cost.model_copy(update={"train_seconds": 1.0})}
    )
    changed = Book.of([other, *by_labels[1:]], figures=True)
    assert "costs.svg\n+++ shows something else" in check(path, changed)


def test_a_digest_is_of_all_that_is_shown() -> None:
    point = Point("kd", 60.0, 1.0, 1.0, False)
    one = Planned("costs", Costs("t", "accuracy", True, (point,)))
    assert one.digest == Planned("costs", Costs("t", "accuracy", True, (point,))).digest
    assert one.digest != Planned("costs", Costs("t", "accuracy", False, (point,))).digest
