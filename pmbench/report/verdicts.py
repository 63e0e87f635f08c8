"""Verdicts of a board in words."""

from __future__ import annotations

from ..contracts.method import OWN
from ..errors import plural
from .boards import Board
from .comparison import Claim
from .placebo import KINDS
from .rows import Row, validation_values, without_validation
from .text import difference, gap_text, joined, number, p_equals, points, rank_text, seeds_text
from .verdict import verdict_of


def short_verdict(row: Row, board: Board) -> str:
    """A few words for a table; `-` for a row that is no ranked method."""
    return verdict_of(row.gain, next((c for c in board.claims if c.label == row.label), None))


def verdict_text(row: Row, board: Board) -> str:
    """The short verdict, with a note where it hangs on a single seed."""
    return short_verdict(row, board) + (", on the edge" if row.edge else "")


def method_lines(board: Board) -> list[str]:
    """A sentence for each method: its gain over the floor, and whether it beats the controls."""
    rows = {row.label: row for row in board.rows}
    return [
        _method(rows[claim.label], claim, board) + _edge(rows[claim.label])
        for claim in board.claims
        if rows[claim.label].gain
    ]


def _edge(row: Row) -> str:
    """`; on the edge: another verdict without seed 3`, or nothing."""
    if not row.edge:
        return ""
    one = "without" if len(row.edge) == 1 else "without any one of"
    return f"; on the edge: another verdict {one} {seeds_text(row.edge)}"


def _method(row: Row, claim: Claim, board: Board) -> str:
    assert row.gain is not None
    assert board.floor is not None
    floor, label = board.floor.label, row.label
    found = f"({difference(row.gain)})"
    if row.gain.adjusted is None:
        return f"{label}: cannot be tested against {floor} {found}"
    if row.gain.significant and not row.gain.better:
        return f"{label}: worse than {floor} {found}"
    if not row.gain.better:
        return f"{label}: no significant gain over {floor} {found}{smallest(board)}"
    text = f"{label}: better than {floor} {found}"
    others = [name for name in claim.beaten if name != floor]
    if claim.holds:
        p = "" if claim.p is None else f", {p_equals(claim.p)} for all together"
        return f"{text}, and better than {joined(others)}{p}"
    if claim.failed:
        return f"{text}, but not shown to be better than {joined(claim.failed)}"
    return f"{text}; not compared with {joined(claim.missing)}, so no claim beyond the floor"


def teacher_text(row: Row) -> str:
    """`early_fusion 84.9`, `like early_fusion` for another network of its kind, `own`, or `-`."""
    teacher = row.teacher
    if teacher is None:
        return "-"
    if teacher.value is not None:
        return f"{teacher.label} {number(teacher.value)}"
    return teacher.name if teacher.name == OWN else f"like {teacher.name}"


def teacher_lines(board: Board) -> list[str]:
    """Sentences that compare methods of one teacher, and a method under two teachers."""
    found = []
    for group in board.equal_teachers:
        ranked = joined([f"{row.label} has rank {rank_text(rank)}" for row, rank in group.ranks])
        value = "" if group.teacher.value is None else f" ({number(group.teacher.value)})"
        found.append(f"taught by {group.teacher.label}{value}: {ranked}, of {len(group.ranks)}")
    for change in board.teacher_changes:
        what = "significant" if change.comparison.significant else "no significant difference"
        found.append(f"{change.label} against {change.against}: {difference(change.comparison)}: {what}")
    return found


def left_lines(board: Board) -> list[str]:
    """A sentence for each method and kind of row without privileged information."""
    found = []
    gains = {row.label: row.gain for row in board.rows}
    for one in board.left:
        gain = gains[one.label]
        if gain is None or one.gain is None:
            continue
        what = f"{KINDS[one.kind]} ({points(one.gain, ' points')})"
        if not gain.better:
            found.append(f"{one.label}: no significant gain to explain; {what}")
            continue
        left = "this" if one.share is None else gap_text(one.share)
        own = number(gain.difference, 1, sign=True)
        text = f"{one.label}: of its gain of {own} points, {left} is left {what}"
        if one.lost is not None:
            better = "significantly more" if one.lost.better else "not shown to be more"
            text += f"; the method gains {difference(one.lost)}: {better}"
        found.append(text)
    return found


def smallest(board: Board) -> str:
    """`; a gain of 7.9 points is found with 80 % probability`, or nothing."""
    if board.smallest_gain is None:
        return ""
    return f"; a true gain of {number(board.smallest_gain)} points would be found with 80 % probability"


def tests_text(board: Board) -> list[str]:
    """How the methods were tested, for the head of a board."""
    methods = sum(row.competes and row.gain is not None for row in board.rows)
    if board.floor is None or not methods or len(board.floor.seeds) < 2:
        return []
    if board.metric is not None and not board.metric.recomputable:
        units = "test samples are not resampled: the metric is no function of predicted classes"
    elif board.grouped:
        units = "whole groups of test samples are resampled"
    else:
        units = "test samples are resampled one by one, as if independent: the records name no groups"
    family = plural(methods, "method")
    variances = ", with moderated variances" if methods > 1 else ""
    found = [f"tests: {family}, paired over seeds{variances}; {units}"]
    if board.smallest_gain is not None:
        found.append(
            f"smallest gain that these tests find with 80 % probability: {number(board.smallest_gain)} points"
        )
    return found


def ceiling_text(board: Board) -> list[str]:
    """Which row is the ceiling and why, for the head of a board."""
    if board.ceiling is None or board.metric is None:
        return []
    label = board.ceiling.label
    lacking = [row.label for row in without_validation(board.rows, board.metric)]
    if not validation_values(board.ceiling, board.metric):
        return [f"ceiling: {label}; no record of a candidate holds a validation value to choose by"]
    text = f"ceiling: {label}, the best on validation data of those that are given the privileged modality"
    if lacking:
        text += f" and have a validation value ({joined(lacking)}: none)"
    return [text]
