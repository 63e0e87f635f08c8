"""`pmbench compare`: two methods, or two records, on the same test samples."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import DEFAULT_OUT, JsonOption, data_folder, print_json
from .show import class_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..errors import UsageError
    from ..report.cell import CellInfo
    from ..report.pairs import Compared, Part
    from ..report.record import Record


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
    from ..plugins import survey

    files = [name.endswith(".json") for name in (first, second)]
    if any(files):
        found = [_records(first, second, files)]
    else:
        found = _rows(records, first, second, dataset, protocol)
    if json_:
        print_json([{"table": name or None, **dataclasses.asdict(c)} for name, _, c in found])
        return
    registry, data = survey(), data_folder(None)
    for number, (name, cell, compared) in enumerate(found):
        if number:
            typer.echo("")
        _print(name, compared, class_names(cell, registry, data))


def _records(first: str, second: str, files: list[bool]) -> tuple[str, CellInfo, Compared]:
    from ..errors import UsageError
    from ..report.pairs import compare_records
    from ..report.record_files import read_record

    if not all(files):
        raise UsageError("a method and a record cannot be compared", "give two methods, or two record files")
    one, other = read_record(Path(first)), read_record(Path(second))
    return "", one.cell, compare_records(one, other)


def _rows(
    folder: Path, first: str, second: str, dataset: str, protocol: str
) -> list[tuple[str, CellInfo, Compared]]:
    from ..errors import UnknownName, UsageError
    from ..report.boards import boards
    from ..report.headlines import names
    from ..report.pairs import compare_rows
    from ..report.record_files import read_records
    from ..report.rows import label_of

    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", "name the folder of records with --records")
    if first == second:
        raise UsageError(f"{first!r} is compared with itself", "name two rows")
    readable, problems = read_records(folder)
    for problem in problems:
        print(f"Warning: {problem.message}", file=sys.stderr)
    wanted = _chosen(readable, folder, dataset, protocol)
    found = boards(wanted)
    chosen = list(zip(names(found), found, strict=True))
    rows = {row.label for _, board in chosen for row in board.rows}
    for label in (first, second):
        if label in rows:
            continue
        if here := [r for r in wanted if label_of(r.cell) == label]:
            raise _without_result(label, here)
        if there := [r for r in readable if label_of(r.cell) == label]:
            raise _elsewhere(label, there)
        hint = f"no record in {folder} is of this row; `pmbench run` makes some, and "
        raise UnknownName("row", label, rows, f"{hint}`pmbench leaderboard --format csv` lists the rows")
    both = [(n, b) for n, b in chosen if {first, second} <= {row.label for row in b.rows}]
    if not both:
        raise UsageError(
            f"no table of {folder} has both {first!r} and {second!r}; expected two rows of one table",
            "`pmbench leaderboard --format csv` lists the rows of each table",
        )
    return [(name, board.cell, compare_rows(board, first, second)) for name, board in both]


def _chosen(records: Sequence[Record], folder: Path, dataset: str, protocol: str) -> list[Record]:
    """The records of a data set and a protocol; all of them for an empty name. Raises UnknownName."""
    from ..errors import UnknownName

    found = list(records)
    for what, field, name in (("data set", "dataset", dataset), ("protocol", "protocol", protocol)):
        known = {getattr(record.cell, field) for record in found}
        if name and name not in known:
            raise UnknownName(what, name, known, f"these are in {folder}")
        found = [record for record in found if name in ("", getattr(record.cell, field))]
    return found


def _without_result(label: str, records: Sequence[Record]) -> UsageError:
    """The error for a row of which no cell has a result."""
    from ..errors import UsageError

    cell, status, reason = records[0].cell, records[0].status, records[0].reason
    why = f"{status}: {reason}" if reason else "it is of an ablation, without privileged data, or invalid"
    return UsageError(
        f"row {label!r} has no result in the table of {cell.dataset}, {cell.protocol}: {why}",
        "compare rows that have one: `pmbench leaderboard --format csv` lists them",
    )


def _elsewhere(label: str, records: Sequence[Record]) -> UsageError:
    """The error for a row that other tables have."""
    from ..errors import UsageError

    tables = sorted({f"{record.cell.dataset}, {record.cell.protocol}" for record in records})
    return UsageError(
        f"row {label!r} has no record of this data set and protocol; it has some of {'; '.join(tables)}",
        "name one of them with --dataset and --protocol",
    )


def _print(name: str, compared: Compared, names: Sequence[str]) -> None:
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
    classes = [(names[part.number], part) for part in compared.classes]
    _parts("class", "Recall by class", compared, classes)
    groups = [(str(part.number), part) for part in compared.groups]
    _parts("group", "Accuracy by group of test samples", compared, groups)


def _verdict(compared: Compared) -> str:
    found = compared.comparison
    if found is None or found.p is None or not found.significant:
        return "not shown to differ"
    return f"{compared.first if found.difference > 0 else compared.second} is better"


def _parts(kind: str, title: str, compared: Compared, parts: Sequence[tuple[str, Part]]) -> None:
    from ..report.text import number, points
    from .tables import heading, table

    if not parts:
        return
    heading(f"{title}, in percent; [ ] hold for all of them together")
    columns = (kind, "samples", compared.first, compared.second, "difference")
    rows: list[tuple[Any, ...]] = [
        (name, p.samples, number(p.first), number(p.second), points(p.comparison)) for name, p in parts
    ]
    table(columns, rows, right=columns[1:])
