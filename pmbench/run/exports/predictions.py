"""Predictions in small files: one Parquet file for each row of a board, with the logits of all its seeds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ... import arrow
from ...errors import DataError, UsageError
from ...files import file_digest, write_atomic
from ...report.record import Record
from ...report.record_files import read_files
from ...report.submission import PREDICTIONS, RECORDS
from ..model import read_logits

if TYPE_CHECKING:
    import pyarrow as pa

_FILE = re.compile(r"(.+)-s(\d+)\.json")


@dataclass(frozen=True)
class Packed:
    """A file of one row. `exact`: columns in float32, whose predicted classes float16 would change."""

    path: Path
    seeds: tuple[int, ...]
    exact: tuple[str, ...]


def pack(results: Path, to: Path, dataset: str = "", protocol: str = "") -> list[Packed]:
    """Writes `to/<dataset>/<protocol>/<backbones>/<row>.parquet` for the finished cells of a run.

    Columns: `id`; `label`, the class index; `s0`, `s1`, ... for each seed: K logits, float16, less the
    largest one of the sample, on which no probability depends. Where float16 changes the class of a sample,
    the column is float32. Raises UsageError if there are no finished cells, DataError for predictions that
    are not those of their records.
    """
    rows: dict[Path, dict[int, tuple[Path, Record]]] = {}
    for path, record in read_files(results / RECORDS)[0].items():
        cell, name = record.cell, path.relative_to(results / RECORDS)
        found = _FILE.fullmatch(name.name)
        if record.status == "done" and found and _chosen(dataset, cell.dataset, protocol, cell.protocol):
            row = name.with_name(f"{found[1]}.parquet")
            rows.setdefault(row, {})[cell.seed] = results / PREDICTIONS / name.with_suffix(".parquet"), record
    if not rows:
        raise UsageError(
            f"{results} has no finished results of this data set and protocol",
            "give the folder of a run (its --out)",
        )
    return [_pack(dict(sorted(rows[row].items())), to / row) for row in sorted(rows)]


def _chosen(dataset: str, found: str, protocol: str, own: str) -> bool:
    return dataset in ("", found) and protocol in ("", own)


def _pack(by_seed: dict[int, tuple[Path, Record]], to: Path) -> Packed:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, pa.Array] = {}
    exact = []
    for seed, (path, record) in by_seed.items():
        logits, ids = _predictions(path, record)
        assert record.samples is not None, "a finished cell has samples"
        labels, predicted = record.samples.unpack()
        common = {"id": arrow.from_strings(ids), "label": arrow.from_numpy(labels.astype(np.int32))}
        if columns and any(not columns[name].equals(values) for name, values in common.items()):
            raise DataError(f"{path} has other samples than the seeds before", "run its cells again")
        columns |= common
        small = compact(logits, predicted)
        if small.dtype == np.float32:
            exact.append(f"s{seed}")
        flat = arrow.from_numpy(small.reshape(-1))
        columns[f"s{seed}"] = pa.FixedSizeListArray.from_arrays(flat, logits.shape[1])
    table = pa.table(columns)
    write_atomic(to, lambda temporary: pq.write_table(table, temporary, compression="zstd"))
    return Packed(to, tuple(by_seed), tuple(exact))


def _predictions(path: Path, record: Record) -> tuple[np.ndarray, list[str]]:
    """Logits (N, K) and ids of a file, which has the digest that the record names."""
    import pyarrow.parquet as pq

    assert record.digests is not None, "a finished cell has digests"
    if not path.is_file() or file_digest(path) != record.digests.predictions:
        raise DataError(f"{path} is not the predictions of its record", "run the same command again")
    return read_logits(path), pq.ParquetFile(path).read(["id"]).column("id").to_pylist()


def compact(logits: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Logits (N, K) less the largest one of each sample, in float16 unless that changes a class (N,)."""
    shifted = logits - logits.max(1, keepdims=True)
    with np.errstate(over="ignore"):
        small = shifted.astype(np.float16)
    same = np.isfinite(small).all() and np.array_equal(small.argmax(1), predicted)
    return small if same else shifted.astype(np.float32)
