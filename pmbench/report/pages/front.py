"""The front page in markdown: a sentence per table, a figure, and a table of methods x tables."""

from __future__ import annotations

import html

from ..audit import bonus_of
from ..boards import Board
from ..headlines import brief_sentence, reading
from ..summary import FEWEST_FOR_RANKS, AverageRanks, Overall, average_ranks, overall
from ..text import code, escape, gap_text, number, points, table, wrap
from .book import DRAWN, WIDTH, Book, slugs
from .gains import GAINS, Gains, definitions, table_link
from .shown import overview_tables
from .verification import statement

MEANS = (
    "Mean gain over data sets of the means over their tables, in points of each table's metric; gap "
    "recovered is mean gain / mean gap. [ ] are simultaneous over the methods. They cover seeds and test "
    "samples of these tables, not the choice of data sets."
)
ACROSS = "across.md"
"""The page of means across data sets, beside the front page."""
NO_RECORDS = "# Leaderboard\n\nNo records yet.\n"


def front_page(book: Book) -> str:
    """The front page; its links go to `tables/`, `methods/` and `figures/` beside it."""
    if not book.tables:
        return NO_RECORDS
    parts = ["# Leaderboard", wrap(f"{introduction(book)} {statement(book)}")]
    parts += [wrap(escape(paragraph)) for paragraph in book.conclusions]
    parts.append(_sentences(book))
    if book.figures and overview_tables(book):
        parts.append(picture("figures/overview", _alternative(book)))
    gains = Gains(book)
    parts.append(gains.grid(gains.first))
    more = []
    if len(gains.first) < len(book.tables):
        more.append(f"[The gains on all {len(book.tables)} tables]({GAINS})")
    if len(book.tables) > 1 and across(book):
        more.append(f"[Means across data sets]({ACROSS})")
    parts += [", ".join(more)] if more else []
    parts += [wrap(_reading(book)), *_bonus(book), definitions(book)]
    return "\n\n".join(parts) + "\n"


def across_page(book: Book) -> str | None:
    """Means over tables, one table per set of values; None for a single table."""
    if len(book.tables) < 2 or not across(book):
        return None
    parts = [f"# Means across data sets\n\n[Leaderboard]({book.front})"]
    parts.append(wrap(MEANS))
    for values, found in across(book).items():
        ranked = any(m.mean_rank is not None for m in found)
        rows = [["method", "mean gain", "gap recovered", "data sets", "tables"] + ["mean rank"] * ranked]
        for m in found:
            rank = ["-" if m.mean_rank is None else number(m.mean_rank)] * ranked
            cells = [code(m.label), points(m.gain), gap_text(m.gap), str(m.datasets), str(m.tables)]
            rows.append(cells + rank)
        if values != "paper":
            parts.append(f"## {escape(values)} values")
        parts.append(table(rows, left=(0,)))
        if not ranked:
            parts.append(f"Mean ranks are shown from {FEWEST_FOR_RANKS} tables on.")
    for name, ranks in ranks_of(book).items() if book.figures else ():
        parts += [picture(f"figures/{name}", ranks_text(ranks)), wrap(escape(ranks_reading(ranks)))]
    return "\n\n".join([*parts, DRAWN]) + "\n"


def across(book: Book) -> dict[str, list[Overall]]:
    """Means over the tables of each set of values, for sets of several tables."""
    found = {values: overall(same) for values, same in _by_values(book).items() if len(same) > 1}
    return {values: methods for values, methods in found.items() if methods}


def ranks_of(book: Book) -> dict[str, AverageRanks]:
    """File name of the figure -> average ranks of each set of values with enough tables."""
    known = {values: average_ranks(same) for values, same in _by_values(book).items()}
    found = {values: ranks for values, ranks in known.items() if ranks is not None}
    names = slugs(["ranks" if values == "paper" else f"ranks {values}" for values in found])
    return dict(zip(names, found.values(), strict=True))


def _by_values(book: Book) -> dict[str, list[Board]]:
    """The boards of each set of hyper-parameter values."""
    sets: dict[str, list[Board]] = {}
    for one in book.tables:
        sets.setdefault(one.board.cell.value_set, []).append(one.board)
    return dict(sorted(sets.items()))


def ranks_text(ranks: AverageRanks) -> str:
    """Alternative text of the figure."""
    values = "" if ranks.values == "paper" else f" with {ranks.values} values"
    return (
        f"Average ranks of {len(ranks.ranks)} methods{values} over {ranks.datasets} data sets, with the "
        "critical difference"
    )


def ranks_reading(ranks: AverageRanks) -> str:
    """How to read average ranks, and what their test counts."""
    text = (
        f"Average ranks among the {len(ranks.ranks)} methods that are on all {ranks.tables} tables, 1 is the "
        f"best: over the tables of each data set, then over the {ranks.datasets} data sets. Bars join "
        "methods whose ranks differ by less than the critical difference of "
        f"{number(ranks.difference, 2)} (Nemenyi's test of all pairs, 5 %). It counts data sets, since "
        "tables of one data set share samples and seeds, and are not independent. The mean "
        "rank above is another: a place among all ranked rows of a table, with floor and controls, on the "
        "tables that the method is on."
    )
    missing = f" Not on all tables: {', '.join(ranks.missing)}." if ranks.missing else ""
    return text + missing


def picture(path: str, alternative: str) -> str:
    """A figure in its light and its dark form."""
    source = f'<source media="(prefers-color-scheme: dark)" srcset="{path}-dark.svg">'
    image = f'<img src="{path}.svg" alt="{html.escape(alternative)}">'
    return f"<picture>\n{source}\n{image if len(image) <= WIDTH else wrap(image)}\n</picture>"


def _alternative(book: Book) -> str:
    shown = overview_tables(book)
    of = f"{len(shown)} of {len(book.tables)} tables" if len(shown) < len(book.tables) else "every table"
    return f"Gain over the floor of each method, with interval and a dot for each seed, for {of}"


def introduction(book: Book) -> str:
    """What the leaderboard asks, and its parts."""
    seeds = sorted({len(t.board.seeds) for t in book.tables})
    count = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    return (
        "Does a privileged modality help in training, with which method, and by how much? Methods train with "
        "it and are tested without it. The floor trains on the target modality alone, the controls have soft "
        "labels or a second training without privilege, the ceiling is given the privileged modality at "
        f"test. {count} {'seed' if seeds == [1] else 'seeds'} a table."
    )


def _sentences(book: Book) -> str:
    link = {id(board): table_link(place) for place, board in enumerate(book.boards)}
    lines = [
        f"[{escape(t.name)}][{link[id(t.board)]}]: {escape(brief_sentence(t.board))}." for t in book.tables
    ]
    lines += [
        f"[{escape(mean.title)}][{link[id(mean.boards[0])]}]: {escape(mean.sentence)}."
        for mean in book.means
        if mean.rows
    ]
    return "\n".join(wrap(f"- {line}", "  ") for line in lines)


def _reading(book: Book) -> str:
    return (
        f"{reading(book.boards)} Each table's page has verdicts, ranks, tests against the controls, other "
        "metrics, costs, skipped cells and provenance; each method's page has its departures from its paper, "
        "published numbers and records."
    )


def _bonus(book: Book) -> list[str]:
    """What choosing the epoch on the test part would have added, over the tables."""
    found = [b for t in book.tables if (b := bonus_of(t.board.rows, t.board.metric)) is not None]
    if not found:
        return []
    low, high = number(min(found)), number(max(found))
    added = low if low == high else f"{low} to {high}"
    text = (
        f"No epoch is chosen on the test part. That would have added {added} points to a result, by the mean"
    )
    return [wrap(f"{text} of a table; its page has a row for each method.")]
