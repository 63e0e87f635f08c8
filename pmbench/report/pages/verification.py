"""How far referees have verified the rows of boards, in words; nothing where there are no attestations."""

from __future__ import annotations

from collections import Counter

from ...errors import plural
from ..attestations import NONE, WORDS, Status
from ..boards import Board
from ..rows import Row
from ..text import joined
from .book import Book

MEANINGS = {
    WORDS["recompute"]: "metrics follow from predictions and official labels",
    WORDS["reinfer"]: "programs, run again, give the predictions",
    WORDS["retrain"]: "one seed, trained again, gives its result",
}


def status_of(book: Book, row: Row) -> Status | None:
    """The status of a row; None if the book has no attestations."""
    return book.attestations.of_row(row.records) if book.attestations else None


def statement(book: Book) -> str:
    """One sentence: how many rows of all tables have which status. Empty without attestations."""
    found = [status for t in book.tables for row in t.board.rows if (status := status_of(book, row))]
    if not found:
        return ""
    counts = Counter(status.text for status in found)
    none = counts.pop(NONE, 0)
    parts = [f"{count} {'is' if count == 1 else 'are'} {text}" for text, count in counts.most_common()]
    if none:
        parts.append(f"{none} {'is' if none == 1 else 'are'} not verified")
    levels = {WORDS[status.level] for status in found if status.level and not status.withdrawn}
    meanings = [f"{word}: {meaning}" for word, meaning in MEANINGS.items() if word in levels]
    text = f"Verification by referees: of {plural(len(found), 'row')}, {joined(parts)}"
    return f"{text} ({'; '.join(meanings)})." if meanings else f"{text}."


def for_all(book: Book, board: Board) -> list[str]:
    """A line for a board all of whose rows have one status; none if they differ, or without attestations."""
    found = {status.text for row in board.rows if (status := status_of(book, row))}
    if len(found) != 1:
        return []
    (text,) = found
    return [f"verification by referees: {'no row is verified' if text == NONE else f'every row is {text}'}"]


def reasons(book: Book, board: Board) -> list[str]:
    """Why rows of a board are withdrawn or stale; texts of others, not escaped."""
    lines = []
    for row in board.rows:
        status = status_of(book, row)
        if status and status.withdrawn:
            lines.append(f"{row.label}, withdrawn: {status.withdrawn}")
        elif status and status.stale:
            lines.append(f"{row.label}, stale: {status.stale}")
    return lines
