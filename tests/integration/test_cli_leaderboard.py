"""`pmbench leaderboard`."""

from __future__ import annotations

import re
from typing import Any

import pytest


def test_nothing_yet(run_cli: Any, workspace: Any) -> None:
    done = run_cli("leaderboard")
    assert done.code == 0
    assert "No records" in done.stdout
    checked = run_cli("leaderboard", "--check")
    assert checked.code == 1
    assert "holds no records" in checked.stderr
    assert run_cli("leaderboard", "--json").json() == []
    assert not workspace.out.exists()


@pytest.mark.slow
def test_draw_is_what_the_run_drew(copied: Any) -> None:
    board = copied.out / "LEADERBOARD.md"
    drawn = {path: path.read_text() for path in copied.out.rglob("*.md")}
    board.unlink()
    done = copied.run_cli("leaderboard")
    assert done.code == 0
    assert done.stdout == "results/LEADERBOARD.md (5 records)\n"
    figures = sorted(path.name for path in (copied.out / "figures").iterdir())
    kinds = ("costs", "costs-dark", "curves", "curves-dark", "terms", "terms-dark")
    assert figures == sorted(f"planted-shared-10-{kind}.svg" for kind in kinds)
    assert {path: without_figures(path.read_text()) for path in copied.out.rglob("*.md")} == drawn
    assert copied.run_cli("leaderboard", "--check").code == 0
    figure = copied.out / "figures" / figures[0]
    figure.write_text("<svg/>")
    checked = copied.run_cli("leaderboard", "--check")
    assert checked.code == 1
    assert figures[0] in checked.stdout


def without_figures(text: str) -> str:
    return re.sub(r"<picture>.*?</picture>\n\n", "", text, flags=re.DOTALL)


def test_other_places(copied: Any) -> None:
    done = copied.run_cli("leaderboard", "--records", "results/records", "--out", "docs/board.md")
    assert done.code == 0
    drawn = (copied.root / "docs" / "board.md").read_text()
    assert without_figures(drawn) == (copied.out / "LEADERBOARD.md").read_text()
    page = (copied.root / "docs" / "methods" / "target_only.md").read_text()
    assert "](../../results/records/planted/" in page


def test_check(copied: Any) -> None:
    assert copied.run_cli("leaderboard", "--check").code == 0
    board = copied.out / "LEADERBOARD.md"
    before = board.read_text().replace("floor", "roof")
    board.write_text(before)
    done = copied.run_cli("leaderboard", "--check")
    assert done.code == 1
    assert "+++" in done.stdout
    assert "roof" in done.stdout
    assert "differ from the records" in done.error
    assert board.read_text() == before, "a check writes nothing"


def test_a_missing_file_differs(copied: Any) -> None:
    (copied.out / "LEADERBOARD.md").unlink()
    assert copied.run_cli("leaderboard", "--check").code == 1


def test_broken_records_are_named(copied: Any) -> None:
    (copied.out / "records" / "broken.json").write_text("{}")
    drawn = copied.run_cli("leaderboard")
    assert drawn.code == 0
    assert "broken.json: not a record" in drawn.stderr
    checked = copied.run_cli("leaderboard", "--check")
    assert checked.code == 1
    assert "1 file" in checked.error


def test_json_rows(finished: Any) -> None:
    (board,) = finished.run_cli("leaderboard", "--json").json()
    assert (board["dataset"], board["protocol"], board["metric"]) == ("planted", "shared-10", "accuracy")
    rows = {row["method"]: row for row in board["rows"]}
    assert set(rows) == {"target_only", "privileged_only", "late_fusion", "early_fusion", "self_distill"}
    assert rows["early_fusion"]["rank"] is None, "it is given a privileged modality at test"
    assert rows["target_only"]["rank"] is not None
    assert 0 <= rows["target_only"]["mean"] <= 100


def test_a_folder_that_is_not_there(run_cli: Any) -> None:
    done = run_cli("leaderboard", "--records", "recrods", "--check")
    assert done.code == 2
    assert "recrods is not a folder" in done.error
