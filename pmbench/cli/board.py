"""Writes the leaderboard of a folder of results."""

from __future__ import annotations

import sys
from pathlib import Path

from .leaderboard import attested_in


def write_board(out: Path) -> Path:
    """Writes `out/LEADERBOARD.md` and its pages from the records below `out/records`.

    It shows the attestations in `out/attestations`. Figures are drawn if those of `pmbench leaderboard` are
    there. Warns of unreadable files.
    """
    from ..report.pages.folder import book_for, has_figures, write
    from ..report.record_files import read_files

    records, problems = read_files(out / "records")
    attested, unread = attested_in(out / "attestations")
    for problem in [*problems, *unread]:
        print(f"Warning: {problem.message}", file=sys.stderr)
    path = out / "LEADERBOARD.md"
    write(path, book_for(path, records, figures=has_figures(path), attestations=attested))
    return path
