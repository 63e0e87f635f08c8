"""All pages of a leaderboard as files: written, or compared with those that are there."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from ...errors import StoreError
from ...files import write_text
from ..attestations import Attestations
from ..boards import Board
from ..record import Record
from .book import CREATOR, Book, conclusions_in
from .figures import Planned, digest_in, draw, plan, shown_on
from .front import ACROSS, across_page, front_page
from .gains import GAINS, gains_page
from .method import method_page
from .table import table_page

FIGURES = "figures"
FOLDERS = ("tables", "methods", FIGURES)
"""Folders of pages beside the front page."""
KINDS = ("", "-dark")
"""Endings of the names of a figure's two forms."""


def pages(book: Book) -> dict[str, str]:
    """Path from the folder of the front page -> text of every page."""
    found, figures = {book.front: front_page(book)}, _figures(book)
    for name, page in ((GAINS, gains_page(book)), (ACROSS, across_page(book))):
        if page is not None:
            found[name] = page
    for place, slug in enumerate(book.slugs):
        page = f"tables/{slug}"
        found[f"{page}.md"] = table_page(book, place, shown_on(page, figures))
    for method, slug in book.methods.items():
        page = f"methods/{slug}"
        found[f"{page}.md"] = method_page(book, method, shown_on(page, figures))
    return found


def book_for(
    path: Path,
    records: Mapping[Path, Record],
    *,
    figures: bool = False,
    attestations: Attestations | None = None,
    known: Sequence[Board] | None = None,
) -> Book:
    """The book of records, given by their files, whose front page is at `path`; `known`: their boards."""
    start = Path(path).parent
    files: dict[str, str] = {}
    for file, record in records.items():
        files.setdefault(record.cell_key, Path(os.path.relpath(file, start)).as_posix())
    return Book.of(
        records.values(),
        front=Path(path).name,
        files=files,
        figures=figures,
        attestations=attestations,
        known=known,
        conclusions=conclusions_in(start),
    )


def write(path: Path, book: Book) -> None:
    """Writes all pages, draws figures that show something else than before, removes pages of no record.

    Raises StoreError.
    """
    folder, texts = Path(path).parent, pages(book)
    for name, text in texts.items():
        write_text(folder / name, text)
    for name, planned in _figures(book).items():
        files = [folder / FIGURES / f"{name}{kind}.svg" for kind in KINDS]
        if any(digest_in(_read(file)) != planned.digest for file in files):
            for kind, text in draw(planned).items():
                write_text(folder / FIGURES / f"{name}{kind}.svg", text)
    for stale in _stale(folder, book, texts):
        stale.unlink()


def check(path: Path, book: Book) -> str:
    """Unified diff from the files to the pages, empty if equal; a missing file counts as empty.

    Figures are compared by the digest of what they show, since each version of matplotlib draws other bytes.
    Raises StoreError if a file cannot be read.
    """
    folder, texts = Path(path).parent, pages(book)
    differences = [_difference(folder / name, text) for name, text in texts.items()]
    for name, planned in _figures(book).items():
        for kind in KINDS:
            file = folder / FIGURES / f"{name}{kind}.svg"
            if digest_in(_read(file)) != planned.digest:
                differences.append(f"--- {file}\n+++ shows something else than its records\n")
    differences += [f"--- {stale}\n+++ of no record\n" for stale in _stale(folder, book, texts)]
    return "".join(differences)


def _figures(book: Book) -> dict[str, Planned]:
    return plan(book) if book.figures else {}


def has_figures(path: Path) -> bool:
    """Whether the pages at `path` were drawn with figures."""
    return (Path(path).parent / FIGURES).is_dir()


def _stale(folder: Path, book: Book, texts: Collection[str]) -> list[Path]:
    """Pages and figures of earlier records, never files of others; `texts` are the paths of the pages."""
    names = {*texts, *(f"{FIGURES}/{name}{kind}.svg" for name in _figures(book) for kind in KINDS)}
    there = [p for name in FOLDERS for p in sorted((folder / name).glob("*")) if p.suffix in (".md", ".svg")]
    there += [folder / name for name in (GAINS, ACROSS) if (folder / name).exists()]
    known = {folder / name for name in names}
    return [p for p in there if p not in known and CREATOR in _read(p)]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") if path.exists() else ""
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: the page cannot be read: {error}") from error


def _difference(path: Path, text: str) -> str:
    before, after = _read(path).splitlines(keepends=True), text.splitlines(keepends=True)
    return "".join(difflib.unified_diff(before, after, str(path), "drawn from records"))
