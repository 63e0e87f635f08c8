"""The result of a run as tables in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from drawn import front, line

from pmbench.report.boards import boards
from pmbench.report.headlines import sentence
from pmbench.report.record import Record
from pmbench.report.results import Results
from pmbench.report.terminal import terminal_tables

GOLDEN = Path(__file__).parents[2] / "golden" / "leaderboard.md"


def printed(records: list[Record], width: int = 160) -> str:
    """The tables of the terminal as text."""
    from io import StringIO

    from rich.console import Console

    console = Console(file=StringIO(), width=width)
    console.print(*terminal_tables(boards(records)), sep="\n")
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_80_columns_break_no_word_and_say_what_the_front_page_says(every_kind: list[Record]) -> None:
    records = [r for r in every_kind if r.cell.dataset == "toy"]
    text = printed(records, 80)
    assert max(map(len, text.splitlines())) <= 80
    (hoffman,) = [line for line in text.splitlines() if line.strip().startswith("hoffman ")]
    gain = line(front(records), "| [`hoffman`]").split(" | ")[1].removesuffix(" |")
    for expected in ("77.25 ± 2.85", gain, "54 % ["):
        assert expected in hoffman
    words = " ".join(text.split())
    assert f"toy, split-1: {sentence(boards(records)[0])}." in words
    for word in ("self_distill (control)", "target_only (floor)", "gain over floor", "gap recovered"):
        assert word in text
    assert next(x for x in text.splitlines() if x.strip().startswith("rad ")).split()[1:] == [
        "skipped",
        "-",
        "-",
    ]


def test_each_board_has_a_table_in_the_terminal(every_kind: list[Record], make_record: Any) -> None:
    assert "other, few-10" in printed(every_kind)
    assert "[bold]x[/red]" in printed([make_record(method="[bold]x[/red]")])


def test_cells_that_were_all_skipped_give_reasons_alone(make_record: Any) -> None:
    results = Results((make_record(status="skipped", reason="needs maps"),))
    assert printed([*results]).strip() == ""
    assert results._repr_html_() == "<p>skipped: kd (seed 0): needs maps</p>"
    assert Results(())._repr_html_() == "<p>No records.</p>"
