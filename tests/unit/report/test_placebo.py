"""What is left of a gain in rows without privileged information."""

from __future__ import annotations

from typing import Any

import pytest
from drawn import render

from pmbench.report.boards import Board, boards
from pmbench.report.record import Record
from pmbench.report.verdicts import left_lines

SEEDS = range(5)


def changed(record: Record, steps: int = 0, **fields: Any) -> Record:
    """The record with fields of its cell and with `steps` steps in place of its own."""
    found = record.model_copy(update={"cell": record.cell.model_copy(update=fields)})
    if steps and record.cost:
        stages = [record.stages[0].model_copy(update={"steps": steps})]
        cost = record.cost.model_copy(update={"steps": steps})
        found = found.model_copy(update={"stages": stages, "cost": cost})
    return found


@pytest.fixture
def main(make_record: Any) -> list[Record]:
    rows = [make_record("target_only", s, 0.60, role="floor") for s in SEEDS]
    rows += [changed(make_record("kd", s, 0.80), steps=200) for s in SEEDS]
    return rows + [changed(make_record("still", s, 0.60), steps=300) for s in SEEDS]


@pytest.fixture
def without(make_record: Any) -> list[Record]:
    def other(s: int, right: float, **fields: Any) -> Record:
        # options only tell the made-up predictions apart
        made = make_record("kd", s, right, options={"made": str(fields)})
        return changed(made, options={}, **fields)

    def floor(s: int, right: float, epochs: int) -> Record:
        made = make_record("target_only", s, right, role="floor", options={"made": epochs})
        return changed(made, steps=10 * epochs, options={}, matched_epochs=epochs)

    rows = [other(s, 0.70, placebo="shuffle") for s in SEEDS]
    rows += [other(s, 0.60, placebo="noise") for s in SEEDS]
    rows += [floor(s, 0.66, 20) for s in SEEDS]
    return rows + [floor(s, 0.69, 30) for s in SEEDS]


def board_of(records: list[Record]) -> Board:
    (board,) = boards(records)
    return board


def test_a_gain_is_compared_with_what_is_left_of_it(main: list[Record], without: list[Record]) -> None:
    board = board_of([*main, *without])
    found = {(one.label, one.kind): one for one in board.left}
    assert found.keys() == {("kd", "shuffle"), ("kd", "noise"), ("kd", "compute"), ("still", "compute")}
    mean = {row.label: row.interval.mean for row in board.rows}
    shuffled = found["kd", "shuffle"]
    left = shuffled.row.interval.mean - mean["target_only"]
    assert shuffled.gain is not None
    assert shuffled.gain.difference == pytest.approx(left)
    assert shuffled.lost is not None
    assert shuffled.lost.difference == pytest.approx(mean["kd"] - shuffled.row.interval.mean)
    assert shuffled.lost.better
    assert shuffled.share is not None
    assert shuffled.share.value == pytest.approx(left / (mean["kd"] - mean["target_only"]))
    assert 0 < shuffled.share.low < shuffled.share.value < shuffled.share.high < 1  # type: ignore[operator]
    noise = found["kd", "noise"].share
    assert noise is not None
    assert noise.low is not None
    assert noise.low < 0.1
    assert found["kd", "compute"].row.label == "target_only (20 epochs)", "the fewest steps that suffice"
    assert found["still", "compute"].row.label == "target_only (30 epochs)"


def test_they_change_nothing_else_of_the_board(main: list[Record], without: list[Record]) -> None:
    alone, both = board_of(main), board_of([*main, *without])
    assert both.rows == alone.rows
    assert (both.floor, both.claims, both.remarks, both.seeds) == (
        alone.floor, alone.claims, alone.remarks, alone.seeds
    )  # fmt: skip


def test_the_sentences(main: list[Record], without: list[Record]) -> None:
    text = " ".join(left_lines(board_of([*main, *without])))
    assert "kd: of its gain of +" in text
    assert "is left with the privileged data of other samples (+" in text
    assert ": significantly more" in text
    assert "still: no significant gain to explain; by the floor in as many steps (+" in text
    drawn = render([*main, *without])
    assert "Without privileged information, in points over the floor." in " ".join(drawn.split())
    assert "Without privileged information" not in render(main)


def test_without_the_method_itself_nothing_is_compared(main: list[Record], without: list[Record]) -> None:
    floor = [r for r in main if r.cell.method == "target_only"]
    assert board_of([*floor, *without]).left == ()
    assert board_of(without).rows == ()
