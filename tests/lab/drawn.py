"""Pages of a leaderboard as one text, for tests that look for words in them."""

from __future__ import annotations

from collections.abc import Iterable

from pmbench.report.pages.book import Book
from pmbench.report.pages.folder import pages
from pmbench.report.record import Record


def render(records: Iterable[Record]) -> str:
    """All pages, each after a line with its path."""
    return "\n".join(f"=== {path}\n{text}" for path, text in pages(Book.of(records)).items())


def tables(records: Iterable[Record]) -> str:
    """The pages of all tables."""
    found = pages(Book.of(records))
    return "\n".join(text for path, text in found.items() if path.startswith("tables/"))


def front(records: Iterable[Record]) -> str:
    return pages(Book.of(records))["README.md"]


def line(text: str, start: str) -> str:
    """The line that begins with `start`."""
    found = [x for x in text.splitlines() if x.startswith(start)]
    assert len(found) == 1, (start, found)
    return found[0]


def row(text: str, method: str) -> list[str]:
    """Cells of a row in the tables of results of the pages of tables."""
    found = [x for x in text.splitlines() if x.startswith(f"| [`{method}`]")]
    assert len(found) == 1, (method, found)
    return [cell.strip() for cell in found[0].strip("|").split(" | ")]
