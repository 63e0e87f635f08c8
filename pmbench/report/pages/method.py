"""The page of one method in markdown: its gains, departures from the paper, published numbers, records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..headlines import ROLES, marked, reading
from ..record import PublishedNumber, Record
from ..rows import Row
from ..text import (
    bullets,
    code,
    duration,
    escape,
    gap_text,
    interval,
    number,
    points,
    printed_text,
    quantity,
    rank_text,
    table,
    wrap,
)
from ..verdicts import method_lines
from .book import DRAWN, Book, Table
from .front import picture

PUBLISHED = (
    "From the papers' own code, backbones and budgets, so beside, not in, the tables. A result on other data "
    "is not comparable."
)


def method_page(book: Book, method: str, figures: Mapping[str, str]) -> str:
    """The page of a method, in `methods/` beside the front page.

    `figures`: file name -> alternative text of those that it shows.
    """
    rows = book.rows_of(method)
    parts = [f"# {code(method)}\n\n[Leaderboard](../{book.front})"]
    if rows:
        parts += [_results(rows), wrap(reading([one.board for one, _ in rows]))]
    if any(row.cell.role != "method" for _, row in rows):
        parts.append(wrap(ROLES))
    parts += [*_verdicts(rows), *_controls(rows), *_skipped(book, method)]
    pictures = [picture(f"../figures/{figure}", text) for figure, text in figures.items()]
    parts += ["## Ablations", *pictures] if pictures else []
    parts += [*_departures(rows), *_published(rows), *_costs(rows), *_records(book, rows)]
    parts.append("\n".join(f"[{t.slug}]: ../tables/{t.slug}.md" for t in _tables(book, method)))
    return "\n\n".join(part for part in (*parts, DRAWN) if part) + "\n"


def _tables(book: Book, method: str) -> list[Table]:
    found = [t for t, _ in book.rows_of(method)] + [t for t, _ in book.absent_of(method)]
    return list({t.slug: t for t in found}.values())


def _link(one: Table) -> str:
    return f"[{escape(one.name)}][{one.slug}]"


def _name(row: Row) -> str:
    return code(row.label) + (f" ({escape(', '.join(row.marks))})" if row.marks else "")


def _results(rows: list[tuple[Table, Row]]) -> str:
    lines = [["table", "row", "result", "gain over the floor", "gap recovered", "rank"]]
    for one, row in rows:
        gain = marked(row, one.board)
        cells = [interval(row.interval), gain, gap_text(row.gap), rank_text(row.rank)]
        lines.append([_link(one), _name(row), *cells])
    return table(lines, left=(0, 1))


def _verdicts(rows: list[tuple[Table, Row]]) -> list[str]:
    """The method's sentence of every table."""
    found = []
    for one, row in rows:
        said = [line for line in method_lines(one.board) if line.startswith(f"{row.label}: ")]
        found += [f"{one.name}: {line}" for line in said]
    return ["## Verdicts", bullets(found)] if found else []


def _controls(rows: list[tuple[Table, Row]]) -> list[str]:
    lines = [["table", "row", "control", "difference, in points"]]
    for one, row in rows:
        for contrast in one.board.contrasts:
            if contrast.label == row.label:
                lines.append(
                    [_link(one), code(row.label), code(contrast.control), points(contrast.comparison)]
                )
    return ["## Against the controls", table(lines, left=(0, 1, 2))] if len(lines) > 1 else []


def _skipped(book: Book, method: str) -> list[str]:
    found = [f"{one.name}, {absent.label}: {absent.text}" for one, absent in book.absent_of(method)]
    return ["## Cells without a result", bullets(found)] if found else []


def departures(rows: Iterable[Row]) -> list[str]:
    """Departures from the standard recipe, and deviations from the paper, each once."""
    found: dict[str, None] = {}
    for record in (record for row in rows for record in row.records):
        for stage in record.stages:
            for name, (standard, own) in sorted(stage.departures.items()):
                found[f"{stage.stage}: {name} {own} instead of {standard}"] = None
            if (stage.optimizer_steps or 0) > stage.steps:
                more = f"{stage.optimizer_steps:,} optimizer steps in {stage.steps:,} batches"
                found[f"{stage.stage}: {more}"] = None
        found.update(dict.fromkeys(record.deviations))
    return list(found)


def _departures(rows: list[tuple[Table, Row]]) -> list[str]:
    """One list for all tables, and for each what only some of them have."""
    each = [(one, row, departures([row])) for one, row in rows]
    common = [text for text in departures(row for _, row in rows) if all(text in own for *_, own in each)]
    lines = list(common)
    for one, row, own in each:
        lines += [f"{one.name}, {row.label}: {text}" for text in own if text not in common]
    title = "## Departures from the standard recipe, and deviations from the paper"
    return [title, bullets(lines)] if lines else []


def published(rows: Iterable[Row]) -> list[PublishedNumber]:
    """The numbers of papers for the rows, of all metrics, each once."""
    found: dict[str, PublishedNumber] = {}
    for row in rows:
        for printed in (*row.published, *(p for _, more in row.others.values() for p in more)):
            found[printed.model_dump_json()] = printed
    return list(found.values())


def published_lines(rows: Iterable[Row]) -> list[str]:
    """A line for each table of each paper: its numbers, with data set and protocol, and what differs here."""
    by_source: dict[tuple[str, ...], list[PublishedNumber]] = {}
    for printed in published(rows):
        differs = f"; not comparable: {'; '.join(printed.differs)}" if printed.differs else ""
        by_source.setdefault((printed.paper, printed.table, printed.variant, differs), []).append(printed)
    return [
        f"{', '.join(part for part in source if part)}: {printed_text(numbers)}{differs}"
        for (*source, differs), numbers in by_source.items()
    ]


def _published(rows: list[tuple[Table, Row]]) -> list[str]:
    lines = published_lines(row for _, row in rows)
    return ["## Published numbers", PUBLISHED, bullets(lines)] if lines else []


def _costs(rows: list[tuple[Table, Row]]) -> list[str]:
    lines = [["table", "row", "parameters", "MACs", "networks at test", "training"]]
    for one, row in rows:
        cost = row.records[-1].cost
        parameters, macs = (cost.parameters, cost.macs) if cost else (None, None)
        cells = [quantity(parameters), quantity(macs), str(row.networks), duration(row.train_seconds)]
        lines.append([_link(one), code(row.label), *cells])
    return ["## Costs", table(lines, left=(0, 1))] if len(lines) > 1 else []


def _records(book: Book, rows: list[tuple[Table, Row]]) -> list[str]:
    """The result of each seed, with a link to its record."""
    lines = []
    for one, row in rows:
        metric = one.board.metric
        assert metric is not None, "a board with rows has a metric"
        seeds = ", ".join(_seed(book, record, metric.name) for record in row.records)
        lines.append(wrap(f"- {escape(one.name)}, {code(row.label)}: {metric.title} {seeds}", "  "))
    return (
        ["## Records", "Result of each seed, from the record that it links to:", "\n".join(lines)]
        if lines
        else []
    )


def _seed(book: Book, record: Record, metric: str) -> str:
    text = number(record.metrics[metric], 2)
    return f"seed {record.cell.seed} {book.record_link(text, record, '../')}"
