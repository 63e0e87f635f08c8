"""Scoring: labels are joined to finished predictions, here and nowhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .. import arrow
from ..data.prepared import Prepared
from ..errors import DataError
from ..metrics.builtin import evidence_of
from ..store.keys import Context
from .evaluator import EvaluationRequest


def read_predictions(path: Path, ids: list[str]) -> dict[str, np.ndarray]:
    """Columns of a prediction file, each (N, D), in the order of `ids`; raises DataError for other ids."""
    import pyarrow.parquet as pq

    table = pq.ParquetFile(path).read()
    found = table.column("id").to_pylist()
    if found != ids:
        raise DataError(
            f"{path} holds predictions for other samples than the test part ({len(found)} of {len(ids)})"
        )
    columns: dict[str, np.ndarray] = {}
    for name in table.column_names:
        if name != "id":
            column = table.column(name).combine_chunks()
            columns[name] = arrow.to_numpy(column.flatten()).reshape(len(ids), -1)
    return columns


def score_predictions(
    context: Context, inputs: tuple[str, ...], prepared: Prepared, path: Path
) -> tuple[dict[str, float], np.ndarray, np.ndarray]:
    """Metrics by name, test labels (N,) and predicted classes (N,) of predictions from `inputs`."""
    split, dataset = context.protocol.split, context.dataset
    ids, _ = prepared.index(split.test)
    labels = prepared.labels(split.test)
    columns = read_predictions(path, ids)
    features = gallery = None
    if needs_features(context):
        complete, (all_ids, _) = prepared.complete(split.train, inputs), prepared.index(split.train)
        gallery_ids = [all_ids[row] for row in complete]
        embedded = read_predictions(path.with_name(path.stem + ".gallery.parquet"), gallery_ids)
        features = columns["features"]
        gallery = embedded["features"], prepared.labels(split.train)[complete]
    evidence = evidence_of(
        labels,
        columns["logits"],
        len(dataset.classes),
        dataset.positive_class,
        features,
        gallery,
        prepared.attack_types(split.test),
    )
    metrics = {metric.name: float(metric.function(evidence)) for metric in context.metrics}
    return metrics, labels, evidence.predicted


def score_epochs(context: Context, request: EvaluationRequest, epochs: int) -> list[float]:
    """The primary metric of each epoch's weights, whose predictions are removed."""
    outs, primary = [request.epoch_out(epoch) for epoch in range(1, epochs + 1)], context.metrics[0].name
    try:
        return [score_predictions(context, request.inputs, request.prepared, o)[0][primary] for o in outs]
    finally:
        for out in outs:
            for file in request.outputs(out).values():
                file.unlink(missing_ok=True)


def needs_features(context: Context) -> bool:
    """Whether any metric of the protocol is computed from pooled features."""
    return any(metric.needs == "features" for metric in context.metrics)
