"""Makes a submission of the results of runs: records, predictions, programs, and the author's statement."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError, StoreError, UsageError
from ..files import file_digest, folder_atomic
from ..plugins import CORE, Registry
from ..report.record import Record
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
from .collecting import Results
from .referee.case import KNOWN, distributions_of, source_digest


@dataclass(frozen=True)
class Author:
    """What the author of a submission states. `where`: distribution -> where to get it."""

    handle: str
    contact: str
    licence: str
    data_terms: str
    where: Mapping[str, str]


def publish(
    found: Results,
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
