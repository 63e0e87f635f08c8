"""Draws the leaderboard of a folder of results."""

from __future__ import annotations

import sys
from pathlib import Path

from ..files import write_text


def write_board(out: Path) -> Path:
    """Draws `out/LEADERBOARD.md` from all records below `out/records`; files that are no records are named
    and left out.
    """
    from ..report.leaderboard import render
    from ..report.record import read_records

    records, problems = read_records(out / "records")
    for problem in problems:
        print(f"Warning: {problem.message}", file=sys.stderr)
    path = out / "LEADERBOARD.md"
    write_text(path, render(records))
    return path
