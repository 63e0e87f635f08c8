"""Writes the leaderboard of a folder of results."""

from __future__ import annotations

import sys
from pathlib import Path

from ..files import write_text


def write_board(out: Path) -> Path:
    """Writes `out/LEADERBOARD.md` from all records below `out/records`; warns of unreadable files."""
    from ..report.leaderboard import render
    from ..report.record_files import read_records

    records, problems = read_records(out / "records")
    for problem in problems:
        print(f"Warning: {problem.message}", file=sys.stderr)
    path = out / "LEADERBOARD.md"
    write_text(path, render(records))
    return path
