"""`pmbench leaderboard`: draws the leaderboard from records, or checks an existing one."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import DEFAULT_OUT, JsonOption, print_json

if TYPE_CHECKING:
    from ..errors import RecordError
    from ..report.attestations import Attestations
    from ..report.boards import AblationResult, AblationTable, Absent, Board
    from ..report.gaps import Gap
    from ..report.record import Record
    from ..report.rows import Row
    from ..report.shelf import Shelf
    from ..report.statistics import Comparison

FORMATS = ("md", "csv", "json", "latex")
RECORDS, BOARD = DEFAULT_OUT / "records", DEFAULT_OUT / "LEADERBOARD.md"


def register(app: typer.Typer) -> None:
    app.command()(leaderboard)


def leaderboard(
    records: Annotated[
        Path | None, typer.Option("--records", help=f"Folder of records. [{RECORDS}]", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="The front page; other pages are beside it.")] = BOARD,
    attestations: Annotated[
        Path | None,
        typer.Option(
            "--attestations",
            metavar="DIR",
            help="Attestations of referees. [attestations, beside the records]",
            show_default=False,
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Write nothing; print the difference to the pages, and fail if there is one."
        ),
    ] = False,
    site: Annotated[
        Path | None,
        typer.Option("--site", metavar="DIR", help="Write a static site there instead.", show_default=False),
    ] = None,
    format_: Annotated[
        str,
        typer.Option(
            "--format", metavar="FORMAT", help="Print tables: md, csv, json or latex.", show_default=False
        ),
    ] = "",
    json_: JsonOption = False,
) -> None:
    """Draw the leaderboard from records: pages and figures.

    --format and --json print tables and write no file; --site writes a site and no page.
    """
    from ..errors import UnknownName, UsageError

    gc.disable()  # it would look again and again at thousands of records, and the process ends soon
    if records is not None and not records.is_dir():
        raise UsageError(f"{records} is not a folder", "give the folder of records that `pmbench run` wrote")
    if format_ and format_ not in FORMATS:
        raise UnknownName("format", format_, FORMATS)
    if json_ and format_ not in ("", "json"):
        raise UsageError(f"--json and --format {format_} are two formats", "leave out one of them")
    if (format_ or site) and check:
        raise UsageError(
            "--check compares the pages, not a site or a format", "leave out --format and --site"
        )
    folder = records or RECORDS
    shelf = _read(folder, fresh=check)
    problems = shelf.problems
    if attestations is not None and not attestations.is_dir():
        raise UsageError(
            f"{attestations} is not a folder", "give the folder that `pmbench verify --attest` wrote"
        )
    attested = None
    if shelf.records:
        from ..report.attestations import attested_in

        attested, unread = attested_in(attestations or folder.parent / "attestations")
        problems += unread
    for problem in problems:
        print(f"Warning: {problem.message}", file=sys.stderr)
    if check:
        _check(out, folder, shelf, problems, attested, json_)
    elif site is not None:
        _site(site, folder, shelf, attested)
    elif format_ and format_ != "json":
        from ..report.pages.book import Book
        from ..report.pages.formats import FORMATS as WRITERS

        typer.echo(WRITERS[format_](Book.of(shelf.records.values(), known=shelf.boards)), nl=False)
    elif json_ or format_:
        print_json([_board(board, attested) for board in shelf.boards])
    else:
        _draw(out, folder, shelf, attested)


def _read(folder: Path, fresh: bool) -> Shelf:
    """Records and boards of a folder; without files, the modules that read them are not imported.

    With `fresh` nothing is taken from the boards that an earlier command has kept.
    """
    from ..files import cache_folder
    from ..report.shelf import Shelf, read_shelf

    if not any(folder.rglob("*.json")):
        return Shelf({}, [], [])
    return read_shelf(folder, None if fresh else cache_folder("boards"))


def _draw(out: Path, folder: Path, shelf: Shelf, attested: Attestations | None) -> None:
    from ..errors import plural

    records = shelf.records
    if not records and not out.exists():
        typer.echo(f"No records in {folder} yet; `pmbench run --method NAME` writes some.")
        return
    from ..report.pages.folder import book_for, write

    figures = bool(records)
    write(out, book_for(out, records, figures=figures, attestations=attested, known=shelf.boards))
    typer.echo(f"{out} ({plural(len(records), 'record')})")


def _site(site: Path, folder: Path, shelf: Shelf, attested: Attestations | None) -> None:
    from ..errors import RecordError, plural
    from ..report.pages.book import Book, conclusions_in
    from ..report.pages.site import write_site

    if not shelf.records:
        raise RecordError(f"{folder} holds no records to make a site of", "name the folder with --records")
    said = conclusions_in(folder.parent)
    book = Book.of(shelf.records.values(), attestations=attested, known=shelf.boards, conclusions=said)
    write_site(site, book, [_board(board, attested) for board in shelf.boards])
    typer.echo(f"{site / 'index.html'} ({plural(len(shelf.records), 'record')})")


def _check(
    out: Path,
    folder: Path,
    shelf: Shelf,
    problems: list[RecordError],
    attested: Attestations | None,
    as_json: bool,
) -> None:
    from ..errors import RecordError, plural

    records = shelf.records

    if not records and not problems:
        raise RecordError(
            f"{folder} holds no records, so there is nothing to check {out} against",
            "name the folder of the records with --records",
        )
    from ..report.pages.folder import book_for, check, has_figures

    figures = has_figures(out)
    book = book_for(out, records, figures=figures, attestations=attested, known=shelf.boards)
    difference = check(out, book)
    if as_json:
        broken = [p.message for p in problems]
        print_json({"same": not difference, "difference": difference, "broken": broken})
    elif difference:
        typer.echo(difference, nl=False)
    else:
        typer.echo(f"{out} and its pages agree with their records ({plural(len(records), 'record')}).")
    if difference:
        raise RecordError(
            f"{out} or its pages differ from the records in {folder}",
            "draw them again with `pmbench leaderboard`",
        )
    if problems:
        raise RecordError(
            f"{plural(len(problems), 'file')} cannot be read as records or attestations",
            "see the warnings above; restore or remove these files",
        )


def _board(board: Board, attested: Attestations | None) -> dict[str, Any]:
    cell = board.cell
    return {
        "dataset": cell.dataset,
        "dataset_version": cell.dataset_version,
        "protocol": cell.protocol,
        "backbones": cell.backbones,
        "recipe": cell.recipe_set,
        "values": cell.value_set,
        "metric": board.metric.name if board.metric else None,
        "floor": board.floor.label if board.floor else None,
        "ceiling": board.ceiling.label if board.ceiling else None,
        "seeds": list(board.seeds),
        "remarks": list(board.remarks),
        "smallest_gain": board.smallest_gain,
        "rows": [
            _row(row) | ({"verification": attested.of_row(row.records).text} if attested else {})
            for row in board.rows
        ],
        "claims": [
            {"method": c.label, "holds": c.holds, "failed": c.failed, "missing": c.missing, "p": c.p}
            for c in board.claims
        ],
        "against_controls": [
            {"method": c.label, "control": c.control, **(_comparison(c.comparison) or {})}
            for c in board.contrasts
        ],
        "equal_teachers": [
            {"row": e.teacher.label, "ranks": {r.label: [rank.low, rank.high] for r, rank in e.ranks}}
            for e in board.equal_teachers
        ],
        "teacher_changes": [
            {"method": c.label, "against": c.against, **(_comparison(c.comparison) or {})}
            for c in board.teacher_changes
        ],
        "without_privilege": [
            {
                "method": one.label,
                "kind": one.kind,
                "row": one.row.label,
                "gain": _comparison(one.gain),
                "lost": _comparison(one.lost),
                "share": _gap(one.share),
            }
            for one in board.left
        ],
        "absent": [_absent(a) for a in board.absent],
        "ablations": [_ablation(ablation) for ablation in board.ablations],
    }


def ablation_values(records: list[Record]) -> list[dict[str, Any]]:
    """Ablations among records for `run --json`, each with data set, protocol and set of values."""
    if not any(r.cell.ablation for r in records):
        return []
    from ..report.boards import boards

    return [
        {"dataset": b.cell.dataset, "protocol": b.cell.protocol, "values": b.cell.value_set, **_ablation(a)}
        for b in boards(records)
        for a in b.ablations
    ]


def _ablation(ablation: AblationTable) -> dict[str, Any]:
    return {"method": ablation.label, "rows": [_ablation_row(row) for row in ablation.rows]}


def _ablation_row(row: AblationResult) -> dict[str, Any]:
    found = None if row.row is None else _row(row.row)
    against = row.comparison
    return {
        "row": row.name or None,
        "options": dict(row.options),
        "mean": found and found["mean"],
        "interval": found and found["interval"],
        "seeds": found["seeds"] if found else [],
        "difference": _comparison(against),
        "absent": [_absent(a) for a in row.absent],
        "published": [
            {"dataset": p.dataset, "protocol": p.protocol, "metric": p.metric, "value": p.value}
            for p in row.printed
        ],
    }


def _comparison(found: Comparison | None) -> dict[str, Any] | None:
    """`p` is that of this comparison alone, `adjusted` is for all methods of the table."""
    if found is None:
        return None
    return {
        "value": found.difference,
        "low": found.low,
        "high": found.high,
        "p": found.p,
        "adjusted": found.adjusted,
    }


def _absent(absent: Absent) -> dict[str, Any]:
    reason, seeds = absent.reason, list(absent.seeds)
    return {"method": absent.label, "status": absent.status, "reason": reason, "seeds": seeds}


def _gap(gap: Gap | None) -> dict[str, Any] | None:
    return None if gap is None else {"value": gap.value, "low": gap.low, "high": gap.high}


def _row(row: Row) -> dict[str, Any]:
    cost, half = row.records[-1].cost, row.interval.half
    rank = row.rank
    return {
        "method": row.label,
        "role": row.cell.role,
        "values": row.cell.values,
        "tests_on": row.cell.tests_on,
        "rank": rank and {"low": rank.low, "high": rank.high, "of": rank.count, "best": rank.best},
        "mean": row.interval.mean,
        "interval": None if half is None else [row.interval.mean - half, row.interval.mean + half],
        "gap_recovered": _gap(row.gap),
        "gain": _comparison(row.gain),
        "parameters": cost.parameters if cost else None,
        "macs": cost.macs if cost else None,
        "train_seconds": row.train_seconds,
        "seeds": list(row.seeds),
        "teacher": row.teacher
        and {"name": row.teacher.name, "row": row.teacher.label, "value": row.teacher.value},
        "sealed": row.sealed,
        "equal_to": row.equal_to,
        "published": sorted({p.value for p in row.published}),
    }
