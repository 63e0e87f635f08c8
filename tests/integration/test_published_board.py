"""The committed board is what its records say, and the records are what their predictions say."""

from __future__ import annotations

from pathlib import Path

from pmbench.report.pages.folder import book_for, check
from pmbench.report.recompute import recompute
from pmbench.report.record_files import read_files, read_records

FOLDER = Path(__file__).parents[2] / "leaderboard"


def test_the_committed_leaderboard_is_drawn_from_its_records() -> None:
    records, problems = read_files(FOLDER / "records")
    assert not problems
    assert records
    path = FOLDER / "README.md"
    assert check(path, book_for(path, records, figures=True)) == ""


def test_no_line_of_the_committed_pages_is_long() -> None:
    found = list(FOLDER.rglob("*.md"))
    assert len(found) > 20
    for path in found:
        assert max(map(len, path.read_text(encoding="utf-8").splitlines())) <= 160, path
    assert len((FOLDER / "README.md").read_text(encoding="utf-8").splitlines()) <= 100


def test_published_metrics_follow_from_published_predictions() -> None:
    for record in read_records(FOLDER / "records")[0]:
        if record.status == "done":
            assert recompute(record)
            assert record.provenance.git_dirty is False
