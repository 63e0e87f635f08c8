"""The committed board is what its records say, and the records are what their predictions say."""

from __future__ import annotations

from pathlib import Path

from pmbench.report.leaderboard import check
from pmbench.report.record import recompute
from pmbench.report.record_files import read_records

FOLDER = Path(__file__).parents[2] / "leaderboard"


def test_the_committed_leaderboard_is_drawn_from_its_records() -> None:
    records, problems = read_records(FOLDER / "records")
    assert not problems
    assert records
    assert check(FOLDER / "README.md", records) == ""


def test_published_metrics_follow_from_published_predictions() -> None:
    for record in read_records(FOLDER / "records")[0]:
        if record.status == "done":
            assert recompute(record)
            assert record.provenance.git_dirty is False
