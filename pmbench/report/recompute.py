"""Metrics of records, computed again from their samples."""

from __future__ import annotations

from ..contracts.metric import Evidence
from ..errors import RecordError, UsageError
from ..metrics.builtin import METRICS
from .record import Record

TOLERANCE = 1e-6
"""Percentage points by which a recomputed metric may differ, since machines sum in different orders."""


def recompute(record: Record) -> dict[str, float]:
    """The metrics that are functions of labels and predicted classes, computed from the record's samples.

    Raises RecordError if a value differs from the record's, or the samples are damaged.
    """
    if record.samples is None:
        return {}
    cell = record.cell
    who = f"record {record.cell_key[:12]} ({cell.method} on {cell.dataset}, seed {cell.seed})"
    again = "records are never edited by hand: run the cell again"
    values: dict[str, float] = {}
    try:
        labels, predicted = record.samples.unpack()
        record.samples.unpack_groups()
        evidence = Evidence(labels, predicted, cell.num_classes, positive=cell.positive_class)
        for name in record.metrics:
            if name in METRICS and METRICS[name].recomputable:
                values[name] = METRICS[name].function(evidence)
    except (RecordError, UsageError) as error:
        raise RecordError(f"{who}: {error.message}", again) from error
    for name, value in values.items():
        if abs(value - record.metrics[name]) > TOLERANCE:
            raise RecordError(
                f"{who} has {name} = {record.metrics[name]:.6f}, but its predictions give {value:.6f}", again
            )
    return values
