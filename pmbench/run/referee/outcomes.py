"""Checks of predictions and metrics, with labels of the referee's own prepared data. Level: recompute."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ... import arrow
from ...errors import DataError, PmbenchError, RecordError
from ...evaluation.scoring import score_predictions
from ...report.recompute import TOLERANCE, recompute
from ...report.record import SampleOutcomes
from ...report.submission import LARGEST, PREDICTIONS, Entry
from .case import Case, Unknown, Wrong
from .outcome import Problem

LARGEST_TABLE = 1 << 30
"""Bytes that predictions may have in memory."""


def metrics_follow_from_the_record(case: Case) -> Iterator[Problem]:
    """Metrics of labels and predicted classes are those of the record's own samples."""
    for entry in case.submission.done:
        try:
            recompute(entry.record)
        except RecordError as error:
            yield Problem(entry.file, error.message)


def predictions_give_the_classes(case: Case) -> Iterator[Problem]:
    """The class of the largest logit is the predicted class of the record, for each of its samples."""
    for entry in case.submission.done:
        samples = entry.record.samples
        assert samples is not None
        try:
            logits = logits_of(entry)
            _, predicted = samples.unpack()
        except (DataError, RecordError) as error:
            yield Problem(entry.file, error.message)
            continue
        if logits.shape != (samples.count, entry.record.cell.num_classes):
            expected = (samples.count, entry.record.cell.num_classes)
            yield Problem(entry.file, f"logits {logits.shape} in its predictions; expected {expected}")
        elif wrong := int((logits.argmax(1) != predicted).sum()):
            yield Problem(entry.file, f"{wrong} predicted classes are not those of its predictions")


def data_is_that_of_the_referee(case: Case) -> Iterator[Problem]:
    """Records and statement name the data sets by the versions that the referee has prepared itself."""
    statement = case.submission.statement
    stated = {one.dataset: one.version for one in statement.data} if statement else {}
    reported = set()
    for entry in case.submission.done:
        cell, digests = entry.record.cell, entry.record.digests
        assert digests is not None
        try:
            prepared = case.prepared(cell.dataset)
        except Unknown as reason:
            if cell.dataset not in reported:
                yield Problem(entry.file, str(reason), checked=False)
            reported.add(cell.dataset)
            continue
        version = prepared.dataset.version
        if cell.dataset_version != version:
            yield Problem(
                entry.file, f"version {cell.dataset_version} of {cell.dataset}; today's is {version}"
            )
        elif stated.get(cell.dataset) != version:
            found = stated.get(cell.dataset, "none")
            yield Problem(
                entry.file, f"submission.toml states version {found} of {cell.dataset}, not {version}"
            )


def results_are_those_of_official_labels(case: Case) -> Iterator[Problem]:
    """Ids are those of the test part; labels, groups and metrics follow from the referee's own data."""
    for entry in case.submission.done:
        cell = entry.record.cell
        try:
            context, _, _ = case.resolved(cell)
            prepared = case.prepared(cell.dataset)
        except Unknown as reason:
            yield Problem(entry.file, str(reason), checked=False)
            continue
        except Wrong as reason:
            yield Problem(entry.file, str(reason))
            continue
        try:
            logits_of(entry)  # refuses what is too large to be read
            metrics, labels, predicted = score_predictions(
                context, tuple(cell.test_modalities), prepared, entry.predictions
            )
        except PmbenchError as error:
            yield Problem(entry.file, error.message.replace(f"{entry.predictions} holds", "it holds"))
            continue
        except (OSError, ValueError, KeyError, AttributeError) as error:
            yield Problem(entry.file, f"its predictions cannot be read: {error}")
            continue
        groups = prepared.index(context.protocol.split.test)[1]
        own = SampleOutcomes.of(labels, predicted, groups)
        yield from (Problem(entry.file, reason) for reason in _differences(entry, metrics, own))


def _differences(entry: Entry, metrics: Mapping[str, float], own: SampleOutcomes) -> Iterator[str]:
    record = entry.record
    assert record.samples is not None
    for name in ("count", "labels", "groups"):
        if getattr(record.samples, name) != getattr(own, name):
            yield f"its {name} of test samples are not the official ones"
    if sorted(record.metrics) != sorted(metrics) or record.primary != next(iter(metrics), None):
        yield f"metrics {', '.join(record.metrics)} ({record.primary} first); expected {', '.join(metrics)}"
        return
    for name, value in metrics.items():
        if not math.isclose(value, record.metrics[name], abs_tol=TOLERANCE):
            yield f"{name} = {record.metrics[name]:.6f}, but official labels give {value:.6f}"


def logits_of(entry: Entry) -> np.ndarray:
    """Logits (N, K) of an entry's predictions; raises DataError for files that are not such a table."""
    return read_logits(entry.predictions)


def read_logits(path: Path) -> np.ndarray:
    """Logits (N, K), float32; raises DataError unless the file holds ids and finite logits, and no more."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if path.is_symlink() or path.stat().st_size > LARGEST[PREDICTIONS]:
            raise DataError("its predictions are no file of a size that is allowed")
        file = pq.ParquetFile(path)
        size = sum(file.metadata.row_group(n).total_byte_size for n in range(file.metadata.num_row_groups))
        schema = file.schema_arrow
        if size > LARGEST_TABLE:
            raise DataError(f"its predictions have {size:,} bytes in memory; at most {LARGEST_TABLE:,}")
        if schema.names not in (["id", "logits"], ["id", "logits", "features"]):
            raise DataError(
                f"its predictions have the columns {', '.join(schema.names)}; expected id, logits"
            )
        kind = schema.field("logits").type
        if not pa.types.is_fixed_size_list(kind) or kind.value_type != pa.float32():
            raise DataError(f"its logits are {kind}; expected lists of float32 of one length")
        table = file.read()
        ids = table.column("id").to_pylist()
        logits = arrow.to_numpy(table.column("logits").combine_chunks().flatten())
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"its predictions cannot be read: {error}") from error
    if len(set(ids)) != len(ids) or None in ids:
        raise DataError("its predictions hold a sample twice, or one without id")
    if len(logits) != len(ids) * kind.list_size or not np.isfinite(logits).all():
        raise DataError("its predictions hold logits that are missing or not finite")
    return logits.reshape(len(ids), kind.list_size)


CHECKS = (
    metrics_follow_from_the_record,
    predictions_give_the_classes,
    data_is_that_of_the_referee,
    results_are_those_of_official_labels,
)
