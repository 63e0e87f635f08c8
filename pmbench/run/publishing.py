"""Makes a submission of the results of runs: records, predictions, programs, and the author's statement."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError, StoreError, UsageError
from ..files import file_digest, folder_atomic
from ..plugins import CORE, Registry
from ..report.record import Record
from ..report.record_files import read_files
from ..report.rows import label_of
from ..report.submission import (
    GALLERY,
    PREDICTIONS,
    PROGRAMS,
    RECORDS,
    DataSet,
    Plugin,
    Statement,
    write_statement,
)
from ..store.store import Store
from .referee.case import KNOWN, distributions_of, source_digest


@dataclass(frozen=True)
class Author:
    """What the author of a submission states. `where`: distribution -> where to get it."""

    handle: str
    contact: str
    licence: str
    data_terms: str
    where: Mapping[str, str]


def collect(results: Iterable[Path]) -> dict[str, tuple[Path, Record]]:
    """Path below `records/` -> results folder and record. Of a cell in several folders, the finished one.

    Raises UsageError for folders without records, DataError for records that cannot be read or are failures.
    """
    found: dict[str, tuple[Path, Record]] = {}
    for folder in results:
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
    for name, (_, record) in found.items():
        if record.cell.is_demo:
            raise UsageError(
                f"{name} is of a demo, {record.cell.dataset}, whose samples are made up",
                "give folders without it (`pmbench run --out`)",
            )
        if record.status == "failed":
            raise DataError(
                f"{name}: the cell of {label_of(record.cell)}, seed {record.cell.seed} failed",
                "run it again; a submission holds results and skips alone",
            )
    return found


def publish(
    results: Sequence[Path],
    to: Path,
    author: Author,
    seeds: int,
    date: str,
    registry: Registry,
    store: Store,
) -> Path:
    """Writes a submission below the folder `to`; returns its folder.

    Raises UsageError if it is there already, or a plugin's source is not stated, and StoreError or DataError
    if programs or predictions are no longer those of the records.
    """
    found = collect(results)
    statement = _statement([record for _, record in found.values()], author, seeds, date, registry)
    folder = to / "submissions" / statement.folder
    if folder.exists():
        raise UsageError(f"{folder} exists", "remove it, or give another --handle or --date")
    with folder_atomic(folder) as temporary:
        for name in (RECORDS, PREDICTIONS, PROGRAMS):
            (temporary / name).mkdir()
        for name, (source, record) in found.items():
            path = temporary / RECORDS / name
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / RECORDS / name, path)
            if record.status == "done":
                _copy_results(record, source, Path(name), temporary, store)
        write_statement(statement, temporary)
    return folder


def _copy_results(record: Record, results: Path, name: Path, to: Path, store: Store) -> None:
    """Copies predictions and program of a finished cell, under their digests."""
    assert record.digests is not None
    who = f"{label_of(record.cell)}, seed {record.cell.seed}"
    predictions = results / PREDICTIONS / name.with_name(f"{name.name.removesuffix('.json')}.parquet")
    if not predictions.is_file() or file_digest(predictions) != record.digests.predictions:
        raise DataError(f"{predictions} is not the predictions of {who}", "run the same command again")
    shutil.copyfile(predictions, to / PREDICTIONS / f"{record.digests.predictions}.parquet")
    gallery = predictions.with_name(predictions.name.removesuffix(".parquet") + GALLERY)
    if gallery.is_file():
        shutil.copyfile(gallery, to / PREDICTIONS / f"{record.digests.predictions}{GALLERY}")
    inputs, key = tuple(record.cell.test_modalities), record.stages[-1].key
    if record.digests.program is None or store.program_digest(key, inputs) != record.digests.program:
        raise StoreError(
            f"the program of {who} is not in {store.root}, or is another one than that of its record",
            "name the --store of the run, or run the same command again",
        )
    target = to / PROGRAMS / f"{record.digests.program}.pt2"
    if not target.exists():
        shutil.copyfile(store.program(key, inputs), target)


def _statement(
    records: Sequence[Record], author: Author, seeds: int, date: str, registry: Registry
) -> Statement:
    used = sorted({name for record in records for name in distributions_of(registry, record.cell)} - {CORE})
    plugins = [
        Plugin(
            distribution=name,
            version=registry.distributions[name],
            source_sha256=source_digest(name),
            where=_where(name, author.where),
        )
        for name in used
    ]
    names = sorted({record.cell.dataset for record in records})
    data = [
        DataSet(dataset=name, version=found.version, licence=found.licence)
        for name in names
        for found in [registry.dataset(name)]
    ]
    return Statement(
        schema_version=1,
        handle=author.handle,
        date=date,
        contact=author.contact,
        licence=author.licence,
        data_terms=author.data_terms,
        seeds=seeds,
        plugins=plugins,
        data=data,
    )


def _where(distribution: str, stated: Mapping[str, str]) -> str:
    """Where to get a distribution: what was stated, or the addresses of its metadata."""
    if distribution in stated:
        return stated[distribution]
    if distribution in KNOWN:
        return f"plugins/{distribution} of pmbench's repository"
    metadata = importlib.metadata.metadata(distribution)
    addresses = [url.partition(",")[2].strip() for url in metadata.get_all("Project-URL") or ()]
    addresses += metadata.get_all("Home-page") or ()
    if not addresses:
        raise UsageError(
            f"where to get {distribution} is not known",
            f"state it: --source {distribution}=ADDRESS, for example of its repository",
        )
    return addresses[0]
