"""Chooses the results of a submission from folders of results."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError, UnknownName, UsageError
from ..plugins import Registry
from ..report.boards import table_of
from ..report.cell import CellInfo
from ..report.record import Record
from ..report.record_files import read_files
from ..report.rows import label_of
from ..report.submission import RECORDS

Results = dict[str, tuple[Path, Record]]
"""Path below `records/` -> results folder and record."""


@dataclass(frozen=True)
class Choice:
    """Names of methods or rows, data sets and protocols; without names all of them are chosen."""

    methods: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ()


def collect(folders: Iterable[Path], choice: Choice, registry: Registry) -> tuple[Results, list[str]]:
    """The chosen results, and the data sets that are left out, with reasons: nobody else can verify them.

    Of a cell in several folders the finished one is taken. Reference rows come with the methods of their
    table. Raises UsageError if nothing is left, DataError for records that are unreadable or failures.
    """
    found = _choose(_read(folders), choice)
    cells = [record.cell for _, record in found.values()]
    reasons = {cell.dataset: reason for cell in cells if (reason := _private(cell, registry))}
    left_out = [f"{name} ({reason})" for name, reason in sorted(reasons.items())]
    kept = {name: one for name, one in found.items() if one[1].cell.dataset not in reasons}
    if not kept:
        raise UsageError(
            f"nothing to publish: {'; '.join(left_out)}",
            "nobody else can verify such results; give results on data that others can get",
        )
    for name, (_, record) in kept.items():
        if record.status == "failed":
            raise DataError(
                f"{name}: the cell of {label_of(record.cell)}, seed {record.cell.seed} failed",
                "run it again, or choose others with --method, --dataset, --protocol; a submission holds "
                "results and skips alone",
            )
    return kept, left_out


def _read(folders: Iterable[Path]) -> Results:
    found: Results = {}
    for folder in folders:
        records, problems = read_files(folder / RECORDS)
        if problems:
            raise DataError(problems[0].message, problems[0].hint)
        if not records:
            raise UsageError(
                f"{folder} holds no records", "give folders that `pmbench run --out` has written"
            )
        for path, record in records.items():
            name = path.relative_to(folder / RECORDS).as_posix()
            if name not in found or found[name][1].status != "done":
                found[name] = folder, record
    return found


def _choose(found: Results, choice: Choice) -> Results:
    """The records with the chosen names; raises UnknownName for a name that none has."""
    found = _with(found, "protocol", choice.protocols, lambda record: {record.cell.protocol})
    found = _with(found, "data set", choice.datasets, lambda record: {record.cell.dataset})
    rows = _with(found, "method", choice.methods, lambda r: {r.cell.method, label_of(r.cell)})
    tables = {table_of(record) for _, record in rows.values()}
    return {
        name: (folder, record)
        for name, (folder, record) in found.items()
        if name in rows or (record.cell.role != "method" and table_of(record) in tables)
    }


def _with(found: Results, what: str, wanted: tuple[str, ...], names: Callable[[Record], set[str]]) -> Results:
    known = {name for _, record in found.values() for name in names(record)}
    for name in wanted:
        if name not in known:
            raise UnknownName(f"{what} of these results", name, known)
    return {name: one for name, one in found.items() if not wanted or names(one[1]) & set(wanted)}


def _private(cell: CellInfo, registry: Registry) -> str:
    """Why nobody else can verify results on the data of a cell; empty if others can get the data."""
    if cell.is_demo:
        return "made-up samples"
    return "your own recordings" if registry.dataset(cell.dataset).takes_names else ""
