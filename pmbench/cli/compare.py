"""`pmbench compare`: two methods, or two records, on the same test samples."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import DEFAULT_OUT, JsonOption, print_json

if TYPE_CHECKING:
    from ..report.pairs import Compared, Part


def register(app: typer.Typer) -> None:
    app.command()(compare)


def compare(
    first: Annotated[str, typer.Argument(help="A row of the leaderboard, such as kd, or a record file.")],
    second: Annotated[str, typer.Argument(help="The row or record to compare it with.")],
    records: Annotated[
        Path, typer.Option("--records", metavar="DIR", help="Folder of records.")
    ] = DEFAULT_OUT / "records",
    dataset: Annotated[
        str, typer.Option("--dataset", "-d", help="This data set only.", show_default=False)
    ] = "",
    protocol: Annotated[
        str, typer.Option("--protocol", "-p", help="This protocol only.", show_default=False)
    ] = "",
    json_: JsonOption = False,
) -> None:
    """Compare two methods over seeds, or two records: on all test samples, by class and by group."""
    files = [name.endswith(".json") for name in (first, second)]
    if any(files):
        found = [("", _records(first, second, files))]
    else:
        found = _rows(records, first, second, dataset, protocol)
    if json_:
        print_json([{"table": name or None, **dataclasses.asdict(c)} for name, c in found])
        return
    for number, (name, compared) in enumerate(found):
        if number:
            typer.echo("")
        _print(name, compared)


def _records(first: str, second: str, files: list[bool]) -> Compared:
    from ..errors import UsageError
    from ..report.pairs import compare_records
    from ..report.record_files import read_record

    if not all(files):
        raise UsageError("a method and a record cannot be compared", "give two methods, or two record files")
    return compare_records(read_record(Path(first)), read_record(Path(second)))


def _rows(folder: Path, first: str, second: str, dataset: str, protocol: str) -> list[tuple[str, Compared]]:
    from ..errors import UnknownName, UsageError
    from ..report.boards import boards
    from ..report.headlines import names
    from ..report.pairs import compare_rows
    from ..report.record_files import read_records

    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", "name the folder of records with --records")
    if first == second:
        raise UsageError(f"{first!r} is compared with itself", "name two rows")
    readable, problems = read_records(folder)
    for problem in problems:
        print(f"Warning: {problem.message}", file=sys.stderr)
    found = boards(
        record
        for record in readable
        if dataset in ("", record.cell.dataset) and protocol in ("", record.cell.protocol)
    )
    chosen = list(zip(names(found), found, strict=True))
    known = {row.label for _, board in chosen for row in board.rows}
    for label in (first, second):
        if label not in known:
            raise UnknownName("row", label, known, f"records in {folder}")
    both = [(n, b) for n, b in chosen if {first, second} <= {row.label for row in b.rows}]
    if not both:
        raise UsageError(
            f"no table of {folder} has both {first!r} and {second!r}; expected two rows of one table",
            "`pmbench leaderboard --format csv` lists the rows of each table",
        )
    return [(name, compare_rows(board, first, second)) for name, board in both]


def _print(name: str, compared: Compared) -> None:
    from ..report.text import number, p_equals, points, seeds_text
    from .tables import fields

    found = compared.comparison
    said = "-"
    if found is not None:
        said = points(found, " points")
        said += "" if found.p is None else f", {p_equals(found.p)}: {_verdict(compared)}"
    basis = "these two networks on their test samples; with other seeds the result may differ"
    if compared.over_seeds and found is not None:
        basis = f"over {seeds_text(found.seeds)}, as one pair; ranks of the board test all pairs together"
    fields(
        [
            ("table", name),
            (compared.first, f"{number(compared.values[0], 2)} {compared.metric}"),
            (compared.second, f"{number(compared.values[1], 2)} {compared.metric}"),
            ("difference", said),
            ("compared", basis),
        ]
    )
    _parts("class", "Recall by class", compared, compared.classes)
    _parts("group", "Accuracy by group of test samples", compared, compared.groups)


def _verdict(compared: Compared) -> str:
    found = compared.comparison
    if found is None or found.p is None or not found.significant:
        return "not shown to differ"
    return f"{compared.first if found.difference > 0 else compared.second} is better"


def _parts(kind: str, title: str, compared: Compared, parts: tuple[Part, ...]) -> None:
    from ..report.text import number, points
    from .tables import heading, table

    if not parts:
        return
    heading(f"{title}, in percent; [ ] hold for all of them together")
    columns = (kind, "samples", compared.first, compared.second, "difference")
    rows: list[tuple[Any, ...]] = [
        (p.number, p.samples, number(p.first), number(p.second), points(p.comparison)) for p in parts
    ]
    table(columns, rows, right=columns)
