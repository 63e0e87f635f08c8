"""A static site of the leaderboard: pages for a browser, figures, records and downloads in one folder.

Every table is a `Grid`, drawn by one template, with sorting and filtering by a script of its own. Nothing is
loaded from elsewhere, and links are relative, so that the folder works from a disk as well as from a server.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import UsageError
from ...files import folder_atomic
from ..headlines import ROLES, reading, sentence
from ..record_files import to_json
from ..text import gap_text, interval, number, rank_text
from ..verdicts import (
    ceiling_text,
    left_lines,
    method_lines,
    teacher_lines,
    tests_text,
    verdict_text,
)
from .book import CREATOR, Book, Table
from .figures import Planned, draw, plan, shown_on
from .formats import to_csv
from .front import introduction, ranks_of, ranks_reading, ranks_text
from .grids import (
    Cell,
    Column,
    Files,
    Grid,
    Line,
    Link,
    ablation_grid,
    across_grids,
    anchor,
    capital,
    cell,
    controls_grid,
    costs_grid,
    gain_cell,
    mean_grid,
    others_grid,
    overview_grid,
    pairs_grid,
    results_grid,
    seeds_grid,
)
from .limits import warnings
from .method import departures, published_lines
from .table import NOT_ANY_MORE, TEACHERS, facts, provenance
from .verification import reasons, statement

PARTS = {
    *("index.html", "style.css", "board.js", "leaderboard.csv", "leaderboard.json"),
    *("tables", "methods", "figures", "records"),
}
"""What a site's folder holds; a folder with anything else is never replaced."""


@dataclass(frozen=True)
class Picture:
    path: str
    alternative: str


@dataclass(frozen=True)
class Items:
    title: str
    items: Sequence[str] = field(default_factory=list)


def write_site(folder: Path, book: Book, values: Any) -> None:
    """Writes the site; `values` are those of `leaderboard --json`. Replaces an older site, nothing else.

    Raises UsageError if the folder holds something else, StoreError if it cannot be written.
    """
    index = folder / "index.html"
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    older = index.is_file() and CREATOR in index.read_text(encoding="utf-8", errors="replace")
    if folder.is_file():
        raise UsageError(f"{folder} is a file", "name a folder for the site")
    if other := sorted(there - PARTS if older else there):
        raise UsageError(
            f"{folder} holds something else than a site of this command: {other[0]}",
            "name a new or an empty folder; an older site is replaced",
        )
    with folder_atomic(folder) as temporary:
        for name, text in site(book, values).items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            (temporary / name).write_text(text, encoding="utf-8", newline="\n")


def site(book: Book, values: Any) -> dict[str, str]:
    """Path -> text of every file of the site."""
    import jinja2

    here = Path(__file__).parent / "templates"
    loader = jinja2.FileSystemLoader(here)
    engine = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    files = Files.of(book)
    downloads = [Link("all tables as CSV", "leaderboard.csv"), Link("all tables as JSON", "leaderboard.json")]
    common = {
        "creator": CREATOR,
        "navigation": [Link(t.name, f"tables/{t.slug}.html") for t in book.tables],
        "legend": f"{reading(book.boards)} {ROLES}",
        "downloads": downloads,
    }
    figures = plan(book)
    index, page = engine.get_template("index.html"), engine.get_template("page.html")
    found = {"index.html": index.render(common | {"up": "", "title": "Leaderboard"} | _index(book, figures))}
    for one in book.tables:
        path = f"tables/{one.slug}.html"
        found[path] = page.render(
            common | {"up": "../", "title": one.name} | _table(book, one, files, figures)
        )
    for method, slug in book.methods.items():
        path = f"methods/{slug}.html"
        found[path] = page.render(
            common | {"up": "../", "title": method} | _method(book, method, files, figures)
        )
    for name, planned in figures.items():
        found |= {f"figures/{name}{kind}.svg": text for kind, text in draw(planned).items()}
    found |= {path: to_json(record) for record, path in files.of_records}
    found["leaderboard.csv"] = to_csv(book)
    found["leaderboard.json"] = json.dumps(values, indent=1, sort_keys=True) + "\n"
    for name in ("style.css", "board.js"):
        found[name] = (here / name).read_text(encoding="utf-8")
    return found


# --- the front page -----------------------------------------------------------------------------------------


def _index(book: Book, figures: Mapping[str, Planned]) -> dict[str, Any]:
    pictures = []
    if "overview" in figures:
        text = "Gain over the floor of each method, with interval and a dot for each seed"
        pictures.append(Picture("figures/overview", text))
    ranks = ranks_of(book)
    cards = [
        {"href": f"tables/{t.slug}.html", "name": t.name, "sentence": f"{capital(sentence(t.board))}."}
        for t in book.tables
    ]
    return {
        "introduction": introduction(book),
        "conclusions": book.conclusions,
        "verification": statement(book),
        "cards": cards,
        "figures": pictures,
        "grids": [overview_grid(book), *across_grids(book)],
        "ranks": [Picture(f"figures/{name}", ranks_text(found)) for name, found in ranks.items()],
        "last": [Items("Average ranks", list(map(ranks_reading, ranks.values())))],
    }


# --- the page of a table ------------------------------------------------------------------------------------


def _pictures(page: str, figures: Mapping[str, Planned]) -> list[Picture]:
    return [Picture(f"../figures/{name}", text) for name, text in shown_on(page, figures).items()]


def _table(book: Book, one: Table, files: Files, figures: Mapping[str, Planned]) -> dict[str, Any]:
    board = one.board
    grids = [
        controls_grid(book, board),
        others_grid(book, board),
        pairs_grid(book, board),
        costs_grid(book, board),
        seeds_grid(book, board, files),
    ]
    grids += [mean_grid(mean, place) for place, mean in enumerate(book.means_of(board)) if mean.rows]
    grids += [ablation_grid(book, board, place) for place in range(len(board.ablations))]
    absent = [f"{a.label}: {a.text}" for a in board.absent]
    return {
        "sentence": f"{capital(sentence(board))}.",
        "first": [results_grid(book, board)] if board.rows else [],
        "figures": _pictures(f"tables/{one.slug}", figures),
        "lists": [
            Items("Warnings", warnings(board)),
            Items(NOT_ANY_MORE, reasons(book, board)),
            Items("Verdicts", method_lines(board)),
            Items(TEACHERS, teacher_lines(board)),
            Items("Without privileged information", left_lines(board)),
        ],
        "grids": [grid for grid in grids if grid.rows],
        "last": [
            Items("Cells without a result", absent),
            Items("Measurement", [*facts(board), *tests_text(board), *ceiling_text(board)]),
            Items("Provenance", provenance(board)),
        ],
    }


# --- the page of a method -----------------------------------------------------------------------------------


def _method(book: Book, method: str, files: Files, figures: Mapping[str, Planned]) -> dict[str, Any]:
    found = book.rows_of(method)
    rows, records = [], []
    for one, row in found:
        place = f"../tables/{one.slug}.html"
        verdict = verdict_text(row, one.board)
        seeds = f"{place}#{anchor(book, row.label)}"
        cells = (
            cell(one.name, one.name, place, note=row.label if row.label != method else ", ".join(row.marks)),
            cell(interval(row.interval), row.interval.mean, seeds),
            gain_cell(row, one.board, seeds),
            cell("" if verdict == "-" else verdict, None if verdict == "-" else verdict),
            cell(gap_text(row.gap), None if row.gap is None else row.gap.value),
            cell(rank_text(row.rank), None if row.rank is None else row.rank.low + row.rank.high / 1000),
        )
        rows.append(Line(cells))
        assert one.board.metric is not None, "a board with rows has a metric"
        name = one.board.metric.name
        links: list[Link] = []
        for record in row.records:
            links += [Link(", seed " if links else "seed "), Link(f"{record.cell.seed}: ")]
            links.append(files.link(record, number(record.metrics[name], 2)))
        records.append(Line((cell(one.name, one.name, note=row.label), Cell(tuple(links)))))
    heads = ("result", "gain over the floor", "verdict", "gap recovered", "rank")
    columns = [Column("table", numeric=False)] + [Column(head, head != "verdict") for head in heads]
    grids = [Grid("results", "Results", f"{method} in every table.", tuple(columns), tuple(rows))]
    seeds_of = (Column("table", numeric=False), Column("result of each seed", numeric=False))
    caption = "Every number links to its record."
    grids.append(Grid("records", "Records", caption, seeds_of, tuple(records), sortable=False))
    verdicts = [
        f"{one.name}: {line}"
        for one, row in found
        for line in method_lines(one.board)
        if line.startswith(f"{row.label}: ")
    ]
    absent = [f"{one.name}, {a.label}: {a.text}" for one, a in book.absent_of(method)]
    own = [row for _, row in found]
    return {
        "sentence": "",
        "first": [grids[0]] if rows else [],
        "figures": _pictures(f"methods/{book.methods[method]}", figures),
        "lists": [
            Items("Verdicts", verdicts),
            Items("Cells without a result", absent),
            Items("Departures from the standard recipe, and deviations from the paper", departures(own)),
            Items(
                "Published numbers, from the papers' own code, backbones and budgets", published_lines(own)
            ),
        ],
        "grids": [grids[1]] if rows else [],
        "last": [],
    }
