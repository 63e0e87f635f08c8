"""The gains of methods x tables in markdown: those that a line of the front page holds, and a page of all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from itertools import zip_longest

from ..headlines import ROLES, controls, mark, marked, methods, reading
from ..rows import Row, label_of
from ..text import code, escape, interval, table, wrap
from .book import DRAWN, WIDTH, Book, Table

GAINS = "gains.md"
"""The page of all gains, beside the front page."""
HEAD = "gain over the floor, in points"
FLOOR = "floor, its result in %"
CEILING = "ceiling, its result in %"


class Gains:
    """Gain over the floor of each method and control on each table, by the places of tables in the book."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self._columns = [_column(one) for one in book.tables]
        self._heads = [f"[{escape(t.name)}][{table_link(i)}]" for i, t in enumerate(book.tables)]
        self._methods, self._controls = order_of(book), _controls(book)
        self._labels = {
            label: f"{kind}[{code(label)}][{book.slug_of(label)}]"
            for kind, labels in (("", self._methods), ("control: ", self._controls))
            for label in labels
        }

    @cached_property
    def first(self) -> list[int]:
        """The tables of the front page: one of each data set in turn, as many as a line holds.

        Of a data set's tables, that of the protocol which most data sets have comes first.
        """
        places: dict[str, list[int]] = {}
        shared = Counter(p for _, p in {(b.cell.dataset, b.cell.protocol) for b in self.book.boards})
        for place, board in enumerate(self.book.boards):
            places.setdefault(board.cell.dataset, []).append(place)
        for own in places.values():
            own.sort(key=lambda place: -shared[self.book.boards[place].cell.protocol])
        turns = [place for turn in zip_longest(*places.values()) for place in turn if place is not None]
        return sorted(self._lines(turns)[0])

    @property
    def grids(self) -> list[str]:
        """All tables, as many beside each other as a line holds."""
        return [self.grid(places) for places in self._lines(range(len(self._columns)))]

    def grid(self, places: Sequence[int]) -> str:
        """Methods x tables; a method without a result or a reason on these tables is left out."""
        rows = [[HEAD, *(self._heads[i] for i in places)]]
        for label, link in self._labels.items():
            if any(label in self._columns[i] for i in places):
                rows.append([link, *(self._columns[i].get(label, "-") for i in places)])
        boards = [self.book.boards[i] for i in places]
        floors = ["-" if b.floor is None else interval(b.floor.interval) for b in boards]
        ceilings = ["-" if b.ceiling is None else interval(b.ceiling.interval) for b in boards]
        return table([*rows, [FLOOR, *floors], [CEILING, *ceilings]], left=(0,))

    def _lines(self, places: Sequence[int]) -> list[list[int]]:
        """The tables in groups that a line holds."""
        first = max(map(len, [*self._labels.values(), HEAD])) + len("|  |")
        lines: list[list[int]] = [[]]
        used = first
        for place in places:
            cells = [*self._columns[place].values(), self._heads[place]]
            width = max(map(len, cells), default=1) + len(" | ")
            if lines[-1] and used + width > WIDTH:
                lines.append([])
                used = first
            lines[-1].append(place)
            used += width
        return lines


def gains_page(book: Book) -> str | None:
    """The gains on all tables; None where the front page shows them all."""
    gains = Gains(book)
    if len(gains.first) == len(book.tables):
        return None
    top = f"# Gains on all tables\n\n[Leaderboard]({book.front})"
    parts = [top, *gains.grids, wrap(f"{reading(book.boards)} {ROLES}"), definitions(book), DRAWN]
    return "\n\n".join(parts) + "\n"


def table_link(place: int) -> str:
    """The name of the link to a table, by its place in the book; short, for the width of columns."""
    return f"table-{place + 1}"


def definitions(book: Book) -> str:
    """Where the links of tables and methods go."""
    lines = [f"[{table_link(i)}]: tables/{t.slug}.md" for i, t in enumerate(book.tables)]
    return "\n".join([*lines, *(f"[{slug}]: methods/{slug}.md" for slug in book.methods.values())])


def _column(one: Table) -> dict[str, str]:
    """Label -> text of its cell in the column of a table."""
    board = one.board
    found = {row.label: marked(row, board) for row in (*methods(board), *controls(board))}
    return found | {a.label: a.status for a in board.absent if a.label not in found}


def order_of(book: Book) -> list[str]:
    """Labels of methods: most claims first, then the largest mean gain; at the end those without a result."""
    gains: dict[str, list[float]] = {}
    held: dict[str, int] = {}
    for board in book.boards:
        for row in methods(board):
            assert row.gain is not None
            gains.setdefault(row.label, []).append(row.gain.difference)
            held[row.label] = held.get(row.label, 0) + (mark(row, board) == "▲")
    without = {label_of(r.cell) for r in book.records if r.cell.role == "method" and r.cell.ablation is None}
    without &= {absent.label for board in book.boards for absent in board.absent}
    found = sorted(gains, key=lambda m: (-held[m], -round(sum(gains[m]) / len(gains[m]), 9), m))
    return [*found, *sorted(without - gains.keys())]


def _controls(book: Book) -> list[str]:
    """Labels of the controls, the ensemble last."""
    found: dict[str, Row] = {}
    for board in book.boards:
        found |= {row.label: row for row in controls(board)}
    return sorted(found, key=lambda label: (found[label].cell.role != "control", label))
