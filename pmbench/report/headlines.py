"""What a board says in a sentence, and in a mark per method: the same words on pages and in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import plural
from .boards import DATA_DIFFERS, Board
from .rows import Row, find_controls
from .text import gap_text, points
from .verdict import BOTH, FLOOR_ALONE, WORSE
from .verdicts import short_verdict, smallest

MARKS = {BOTH: "▲", FLOOR_ALONE: "△", WORSE: "▼"}
"""Marks of verdicts in tables without a column for them; a method without a mark has no significant gain."""
EDGE = "°"
LEGEND = (
    "Methods are marked: ▲ beats the floor and every control, △ beats the floor alone, ▼ is worse than the "
    "floor; no mark: no significant gain"
)
BRIEF = {
    "the floor and every control": "floor and controls",
    "beats the floor alone": "the floor alone",
    "beat the floor alone": "the floor alone",
    "the best of them by its mean": "the best",
    " to the ceiling": "",
    "a true gain": "a gain",
    "with 80 % probability": "(80 % power)",
}
"""Words of `sentence` and what stands for them where many tables are listed."""
ROLES = (
    "Floor: trained on the target modality alone; control: that with soft labels or a second training; "
    "reference: no method, such as one that is given the privileged modality at test; ceiling: the reference "
    "that is best on validation data, so another may have a better result."
)
"""What the words beside the names of rows mean."""
INTERVALS = (
    "[ ] hold for all methods of a table together, with 95 % probability: a gain is significant if and only "
    "if its [ ] excludes 0."
)


def names(boards: Sequence[Board]) -> list[str]:
    """A name for each board: its title, and its backbones, recipe and version where titles are equal."""
    further = (
        lambda b: "+".join(dict.fromkeys(name for _, name in sorted(b.cell.backbones.items()))),
        lambda b: f"tested on {'+'.join(b.cell.target)}, given {'+'.join(b.cell.privileged)} in training",
        lambda b: f"recipe {b.cell.recipe_set}",
        lambda b: f"version {b.cell.dataset_version}",
        lambda b: f"{b.cell.num_classes} classes",
        lambda b: ", ".join(f"{m}: {name}" for m, name in sorted(b.cell.backbones.items())),
    )
    found = [board.title for board in boards]
    for text in further:
        same: dict[str, set[str]] = {}
        for name, board in zip(found, boards, strict=True):
            same.setdefault(name, set()).add(text(board))
        found = [
            f"{name}, {text(board)}" if len(same[name]) > 1 else name
            for name, board in zip(found, boards, strict=True)
        ]
    return found


def mark(row: Row, board: Board) -> str:
    """The mark of a method's verdict, or nothing."""
    return MARKS.get(short_verdict(row, board), "")


def marked(row: Row, board: Board) -> str:
    """`+3.70 [-2.98, 10.39] ▲`: gain over the floor with its marks; `-` without a comparison."""
    return f"{points(row.gain)} {mark(row, board)}{EDGE if row.edge else ''}".strip()


def legend(boards: Sequence[Board]) -> str:
    """What the marks on these boards mean."""
    if not any(row.edge for board in boards for row in board.rows):
        return LEGEND
    return f"{LEGEND}; {EDGE} on the edge: without one of the seeds the verdict is another"


def reading(boards: Sequence[Board]) -> str:
    """How to read gains, their intervals and marks."""
    return f"Gains are differences to the floor, paired over seeds. {INTERVALS} {legend(boards)}."


def methods(board: Board) -> list[Row]:
    """The methods of a board that are compared with its floor, the highest mean first."""
    return [row for row in board.rows if row.competes and row.gain is not None]


def controls(board: Board) -> list[Row]:
    """The rows that a claim has to beat besides the floor, and that are compared with it."""
    return [row for row in find_controls(board.rows) if row.gain is not None]


def sentence(board: Board) -> str:
    """How many methods beat floor and controls, and how much of the gap the best of them closes.

    No more than the intervals support: where no claim holds, the smallest gain that would have been found.
    """
    return f"{_claim(board)}; {DATA_DIFFERS}" if DATA_DIFFERS in board.remarks else _claim(board)


def brief_sentence(board: Board) -> str:
    """`sentence` in fewer words, for a list of many tables."""
    text = sentence(board)
    for words, fewer in BRIEF.items():
        text = text.replace(words, fewer)
    return text


def _claim(board: Board) -> str:
    if not board.rows:
        return "no finished cell"
    if board.floor is None:
        return "no sealed floor, so nothing is compared"
    found = methods(board)
    tested = [row for row in found if row.gain is not None and row.gain.adjusted is not None]
    if not found:
        return "no method is compared with the floor"
    if not tested:
        why = "one seed (--seeds 2 or more)" if len(board.seeds) == 1 else "gains have no interval"
        return f"{plural(len(found), 'method')} cannot be tested: {why}"
    held = [row for row in tested if mark(row, board) == "▲"]
    alone = sum(mark(row, board) == "△" for row in tested)
    more = f"; {plural(alone, 'beats', 'beat')} the floor alone" if alone else ""
    if not held:
        who = "the method is not" if len(tested) == 1 else f"none of {plural(len(tested), 'method')} is"
        return f"{who} shown to beat the floor and every control{more or smallest(board)}"
    verb = "beats" if len(held) == 1 else "beat"
    text = f"{len(held)} of {plural(len(tested), 'method')} {verb} the floor and every control"
    best = held[0]
    who = best.label if len(held) == 1 else f"the best of them by its mean, {best.label},"
    gain = f"gains {points(best.gain, ' points')}"
    if best.gap is not None:
        gain = f"closes {gap_text(best.gap)} of the gap to the ceiling"
    return f"{text}{more}; {who} {gain}"
