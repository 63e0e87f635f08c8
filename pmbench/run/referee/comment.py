"""A referee's report as markdown, for a comment on a request: checks, reasons, and rows beside the board's.

Texts of the submission stand in inline code alone, where they are neither markup nor names of users.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import plural
from ...report.attestations import WORDS
from ...report.boards import Board, boards, table_of
from ...report.headlines import INTERVALS, LEGEND, marked, names
from ...report.pages.formats import marks_of
from ...report.text import code, interval, rank_text, table, wrap
from .case import Case
from .outcome import Report, Verdict, shown

MOST, LONGEST = 50, 60_000
"""Reasons that are shown, and characters of a comment; hosts of repositories take about 65,000."""
VERDICTS = {
    "passed": "every check passed",
    "refused": "refused",
    "not checked": "not everything could be checked, which is no pass",
}


def comment(case: Case, report: Report) -> str:
    """The comment; the board is compared unless the submission is refused."""
    reached = f"Level: {WORDS[report.reached]}." if report.reached else "No level is reached."
    checks = [["check", "level", "verdict"]]
    checks += [[r.check.replace("_", " "), r.level, r.verdict] for r in report.results]
    parts = [f"## Referee: {VERDICTS[report.verdict]}", reached, *_reasons(report)]
    if report.verdict != "refused":
        parts += _tables(case)
    parts += ["<details><summary>All checks</summary>", table(checks, left=(0, 1, 2)), "</details>"]
    text = "\n\n".join(parts) + "\n"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}\n\nThe rest is in the files of this check.\n"


def _reasons(report: Report) -> Iterator[str]:
    """Lists of what is refused, and of what was not checked."""
    titles: dict[Verdict, str] = {"refused": "Refused", "not checked": "Not checked"}
    for verdict, title in titles.items():
        found = report.problems(verdict)
        if not found:
            continue
        lines = [f"- {code(shown(p.file))}: {code(shown(p.reason))}" for _, p in found[:MOST]]
        if len(found) > MOST:
            lines.append(f"- and {len(found) - MOST} more")
        yield f"### {title}\n\n" + "\n".join(lines)


def _tables(case: Case) -> Iterator[str]:
    """The tables of the board that the submission adds rows to, as they would be."""
    added = [entry.record for entry in case.submission.entries]
    touched = {table_of(record) for record in added}
    own = [record for record in case.own if table_of(record) in touched]
    before = {_key(board): board for board in boards(own) if board.rows}
    after = [board for board in boards([*own, *added]) if board.rows]
    for board, name in zip(after, names(after), strict=True):
        known = before.get(_key(board))
        marks = {"best": "best", "tied": "tied with it"}
        rows = [["method", board.metric.title if board.metric else "result", "gain", "rank", "", ""]]
        labels = {row.label for row in known.rows} if known else set()
        best = marks_of(board)
        for row in board.rows:
            new = "" if row.label in labels else "**new**"
            mark = marks.get(best.get(row.label, ""), "")
            cells = [interval(row.interval), marked(row, board), rank_text(row.rank), mark, new]
            rows.append([code(row.label), *cells])
        yield f"### {code(name)}"
        yield table(rows, left=(0, 4, 5))
        if known and (changed := _changed(known, board)):
            yield "Rows of the board whose mark changes: " + "; ".join(changed) + "."
    if after:
        yield wrap(f"{INTERVALS} {LEGEND}.")
    yield f"The submission holds {plural(len(added), 'record')}."


def _changed(before: Board, after: Board) -> list[str]:
    """Rows with another gain mark than before: the tests of a table depend on all of its rows."""
    old = {row.label: marked(row, before).rpartition("]")[2].strip() or "none" for row in before.rows}
    new = {row.label: marked(row, after).rpartition("]")[2].strip() or "none" for row in after.rows}
    return [f"{code(n)} {old[n]} to {new[n]}" for n in old if n in new and old[n] != new[n]]


def _key(board: Board) -> str:
    return table_of(board.rows[0].records[0])
