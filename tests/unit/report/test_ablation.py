"""Ablations: rows outside of the board, compared with the method itself. Sets of values: one board each."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from drawn import front, render, tables
from rich.console import Console

from pmbench.report.boards import boards
from pmbench.report.cell import AblationRow
from pmbench.report.record import Record
from pmbench.report.terminal import ablation_tables

PRINTED = ("A paper", "Table 5", "no_D2")


def changed(record: Record, **changes: Any) -> Record:
    return record.model_copy(update={"cell": record.cell.model_copy(update=changes)})


@pytest.fixture
def rows(make_record: Any, make_published: Any) -> list[Record]:
    """Three rows of an ablation of `amid`: a much worse one, the method itself, and a skipped one."""
    found = []
    numbers = [
        make_published(PRINTED, ("a",), "far", metric, value)
        for metric, value in (("accuracy", 72.8), ("f1", 60.0))
    ]
    for seed in (0, 1, 2):
        whole = make_record("amid", seed, 0.65)
        no_d2 = make_record("amid", seed, 0.40, options={"d2": False})
        reason = "needs maps | of gyro"
        wide = make_record("amid", seed, options={"wide": True}, status="skipped", reason=reason)
        found += [
            changed(no_d2, ablation=AblationRow(row="no D2", printed=list(PRINTED))).model_copy(
                update={
                    "stages": [whole.stages[0].model_copy(update={"key": f"other {seed}"})],
                    "published": numbers,
                }
            ),
            changed(whole, options={"d2": True}, ablation=AblationRow(row="full")),
            changed(wide, ablation=AblationRow(row="10 wide")),
        ]
    return found


@pytest.fixture
def whole(every_kind: list[Record], make_record: Any) -> list[Record]:
    amid = [make_record("amid", seed, 0.65) for seed in (0, 1, 2)]
    return [r for r in every_kind if r.cell.method != "amid"] + amid


def test_ablations_do_not_change_the_board(whole: list[Record], rows: list[Record]) -> None:
    without, with_ablations = boards(whole), boards(rows + whole)
    assert [b.ablations for b in without] == [(), ()]
    for a, b in zip(without, with_ablations, strict=True):
        assert (a.rows, a.absent, a.contrasts, a.remarks) == (b.rows, b.absent, b.contrasts, b.remarks)
    assert front(whole) == front(rows + whole)
    before, after = tables(whole), tables(rows + whole)
    assert before.strip().split("\n\n") == [p for p in after.strip().split("\n\n") if not added(p)]


def added(part: str) -> bool:
    lists = ("Without a result:", "- 10 wide: ", "The paper's own numbers:", "- no D2: ")
    return part.startswith(("## Ablations", "Rows of the paper", "| row |", *lists))


def test_rows_are_compared_with_the_method_itself(whole: list[Record], rows: list[Record]) -> None:
    (board,) = [b for b in boards(rows + whole) if b.cell.dataset == "toy"]
    (ablation,) = board.ablations
    assert ablation.label == "amid"
    itself, wide, full, no_d2 = ablation.rows
    assert [r.name for r in ablation.rows] == ["", "10 wide", "full", "no D2"]
    assert itself.row in board.rows
    assert (wide.row, wide.absent[0].status, wide.absent[0].seeds) == (None, "skipped", (0, 1, 2))
    assert full.row is not None
    assert full.comparison is None
    assert no_d2.row is not None
    assert no_d2.comparison is not None
    assert itself.row is not None
    loss = no_d2.row.interval.mean - itself.row.interval.mean
    assert no_d2.comparison.difference == pytest.approx(loss)
    assert loss < -10
    assert no_d2.comparison.adjusted == no_d2.comparison.p  # the only row compared: no correction
    assert [p.value for p in no_d2.printed] == [72.8, 60.0]
    assert all(r.row is None or r.row.rank is None for r in ablation.rows[1:])


def test_ablations_in_markdown_and_terminal(whole: list[Record], rows: list[Record]) -> None:
    markdown = render(rows + whole)
    assert len([x for x in markdown.splitlines() if x.startswith("| no D2 | `d2=false` |")]) == 1
    assert "- no D2: accuracy 72.8, f1 60 on far, split-1" in markdown
    assert "- 10 wide: skipped (seeds 0, 1, 2): needs maps \\| of gyro" in markdown
    console = Console(file=StringIO(), width=200)
    console.print(*ablation_tables(boards(rows + whole)))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "Ablations of amid on toy, split-1" in shown
    assert "10 wide: skipped (seeds 0, 1, 2)" in " ".join(shown.split())


def test_ablation_without_records_of_the_method(rows: list[Record]) -> None:
    (board,) = boards(rows)
    assert board.rows == ()
    itself, *others = board.ablations[0].rows
    assert (itself.row, itself.absent) == (None, ())
    assert [r.comparison for r in others] == [None, None, None]
    assert others[-1].row is not None
    assert "Ablations of amid" in render(rows)


def test_each_set_of_values_has_its_board(every_kind: list[Record]) -> None:
    values = {"kd": "small"}
    small = [changed(r, value_set="small", values=values.get(r.cell.method, "paper")) for r in every_kind]
    paper, tuned = tables(every_kind), tables(small)
    both = tables(every_kind + small)
    assert len(boards(every_kind + small)) == 2 * len(boards(every_kind))
    assert "hyper-parameters: small values" in tuned
    assert "# toy, split-1, small values" in tuned
    assert "| [`hoffman`][hoffman] (paper values, it has no small ones) |" in tuned
    assert "| [`target_only`][target_only] (floor) |" in tuned
    assert "| [`kd`][kd] |" in tuned
    assert "it has no small ones" not in paper
    for part in (paper.strip() + "\n\n" + tuned.strip()).split("\n\n"):
        assert part in both
    across = render(every_kind + small).partition("=== across.md")[2].partition("===")[0]
    assert "## small values" in across
