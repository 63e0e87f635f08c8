"""What limits the comparison of a table, as lines of text."""

from __future__ import annotations

from ..boards import Board
from ..rows import ENSEMBLE
from ..text import seeds_text


def warnings(board: Board) -> list[str]:
    """What limits the comparison of this table."""
    lines = list(board.remarks)
    if board.rows and board.floor is None:
        lines.append("no sealed floor on this board: no gap recovered, and no test against it")
    if board.rows and board.ceiling is None:
        lines.append("no ceiling on this board: no gap recovered")
    if board.floor is not None:
        rising = [r.cell.seed for r in board.floor.records if r.validation and r.validation.flat is False]
        if rising:
            lines.append(
                f"the validation curve of {board.floor.label} is not flat ({seeds_text(rising)}): it may be "
                "under-trained, which fakes gains for every method"
            )
        if len(board.floor.seeds) == 1:
            lines.append("one seed of the floor: gains have no interval, and nothing is tested")
        if board.ceiling is not None and any(r.gap is None and r.gain is not None for r in board.rows):
            lines.append(
                "no gap recovered where the ceiling is less than 1 point above the floor on common seeds"
            )
    lines += _near_chance(board)
    two = [r.label for r in board.rows if r.competes and r.networks > 1]
    if two and not any(r.cell.method == ENSEMBLE and r.rankable for r in board.rows):
        lines.append(f"{', '.join(two)}: more than one network at test, but no {ENSEMBLE} to compare with")
    return lines


def _near_chance(board: Board) -> list[str]:
    """Stages whose delivered networks tell classes apart no better than chance, by row."""
    lines = []
    for row in board.rows:
        found: dict[str, list[int]] = {}
        for record in row.records:
            for stage in dict.fromkeys(s.stage for s in record.stages if s.near_chance):
                found.setdefault(stage, []).append(record.cell.seed)
        lines += [
            f"{row.label}: what stage {stage} delivers is near chance on validation data, {seeds_text(seeds)}"
            for stage, seeds in found.items()
        ]
    return lines
