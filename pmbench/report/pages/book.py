"""All boards of some records, with the names of their pages and the files of the records."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from ...errors import StoreError
from ..attestations import Attestations
from ..averages import MeanTable, mean_tables
from ..boards import Absent, Board, boards, grouped
from ..headlines import names
from ..record import Record
from ..rows import Row, label_of
from ..text import natural

WIDTH = 160
"""Characters that a line of a page may have."""
CONCLUSIONS = "conclusions.txt"
"""The file beside the front page whose paragraphs are shown at its top: what the tables support, in words."""
CREATOR = "drawn by pmbench leaderboard"
"""Words in the metadata of figures: only files that hold them are ever removed."""
DRAWN = f"<!-- {CREATOR} -->"
"""The same as the last line of the pages beside the front page."""


@dataclass(frozen=True)
class Book:
    """Boards and what links them. `front`: file name of the front page.

    `files`: cell key -> path of its record, from the folder of the front page. `figures`: whether the pages
    show figures. `attestations`: what referees have found about the records. `known`: the boards of the
    records, if they were computed before. `conclusions`: paragraphs of plain text by whoever keeps the board.
    """

    records: tuple[Record, ...]
    front: str = "README.md"
    files: Mapping[str, str] = field(default_factory=dict)
    figures: bool = False
    attestations: Attestations = field(default_factory=Attestations)
    known: Sequence[Board] | None = field(default=None, repr=False)
    conclusions: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        records: Iterable[Record],
        *,
        front: str = "README.md",
        files: Mapping[str, str] | None = None,
        figures: bool = False,
        attestations: Attestations | None = None,
        known: Sequence[Board] | None = None,
        conclusions: tuple[str, ...] = (),
    ) -> Book:
        tables = grouped(record for record in records if not record.cell.is_demo)
        shown = tuple(record for same in tables for record in same)
        attested = attestations or Attestations()
        return cls(shown, front, files or {}, figures, attested, known, conclusions)

    @cached_property
    def boards(self) -> list[Board]:
        return boards(self.records) if self.known is None else list(self.known)

    @cached_property
    def means(self) -> list[MeanTable]:
        """The means over boards that belong together."""
        return mean_tables(self.boards)

    def means_of(self, board: Board) -> list[MeanTable]:
        """The means that a board is part of."""
        return [mean for mean in self.means if any(one is board for one in mean.boards)]

    @cached_property
    def names(self) -> list[str]:
        """A name for each board."""
        return names(self.boards)

    @cached_property
    def slugs(self) -> list[str]:
        """A file name for each board, without suffix."""
        return slugs(self.names)

    @cached_property
    def tables(self) -> list[Table]:
        return [Table(*found) for found in zip(self.boards, self.names, self.slugs, strict=True)]

    @cached_property
    def methods(self) -> dict[str, str]:
        """Method -> file name of its page, without suffix."""
        found = sorted({r.cell.method for r in self.records}, key=natural)
        return dict(zip(found, slugs(found), strict=True))

    @cached_property
    def method_of(self) -> dict[str, str]:
        """Label of a row -> its method."""
        return {label_of(r.cell): r.cell.method for r in self.records}

    def slug_of(self, label: str) -> str:
        """File name of the page of a row's method, without suffix."""
        return self.methods[self.method_of[label]]

    def rows_of(self, method: str) -> list[tuple[Table, Row]]:
        """All rows of a method, in the order of the tables."""
        return [(t, row) for t in self.tables for row in t.board.rows if row.cell.method == method]

    def absent_of(self, method: str) -> list[tuple[Table, Absent]]:
        return [(t, a) for t in self.tables for a in t.board.absent if self.method_of.get(a.label) == method]

    def record_link(self, text: str, record: Record, up: str = "") -> str:
        """The text as a link to the record's file, from a page whose front page is at `up`; or plain."""
        path = self.files.get(record.cell_key)
        return text if path is None else f"[{text}]({up}{quote(path)})"


@dataclass(frozen=True)
class Table:
    """A board with its name and the file name of its page."""

    board: Board
    name: str
    slug: str


def conclusions_in(folder: Path) -> tuple[str, ...]:
    """The paragraphs of `conclusions.txt` in a folder, none without such a file. Raises StoreError."""
    path = folder / CONCLUSIONS
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
    return tuple(" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if part.strip())


def slugs(texts: Sequence[str]) -> list[str]:
    """A file name for each text: letters, digits and `._+-`; different, also where case does not count."""
    found: list[str] = []
    taken: set[str] = set()
    for text in texts:
        plain = re.sub(r"[^A-Za-z0-9_+.]+", "-", text).strip("-.") or "page"
        slug, count = plain, 1
        while slug.lower() in taken:
            count += 1
            slug = f"{plain}-{count}"
        taken.add(slug.lower())
        found.append(slug)
    return found
