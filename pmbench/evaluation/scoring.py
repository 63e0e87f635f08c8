"""Joins labels to finished predictions. The only place where both meet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..data.prepared import Prepared
from ..errors import DataError
from ..metrics.builtin import score
from ..store.keys import Context


def read_predictions(path: Path, ids: list[str]) -> dict[str, np.ndarray]:
    """Columns of a prediction file as (N, ...) arrays in the order of `ids`; raises DataError where ids
    differ.
    """
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    found = table.column("id").to_pylist()
    if found != ids:
        raise DataError(
            f"{path} holds predictions for other samples than the test part ({len(found)} of {len(ids)})"
        )
    columns: dict[str, np.ndarray] = {}
    for name in table.column_names:
        if name != "id":
            column = table.column(name).combine_chunks()
            columns[name] = column.flatten().to_numpy().reshape(len(ids), -1)
    return columns


def score_predictions(
    context: Context, inputs: tuple[str, ...], prepared: Prepared, path: Path
) -> tuple[dict[str, float], np.ndarray, np.ndarray]:
    """Metrics of predictions from `inputs`, the test labels (N,) and the predicted classes (N,)."""
    split, dataset = context.protocol.split, context.dataset
    ids, _ = prepared.index(split.test)
    labels = prepared.labels(split.test)
    columns = read_predictions(path, ids)
    extra: dict[str, Any] = {}
    if needs_features(context):
        complete, (all_ids, _) = prepared.complete(split.train, inputs), prepared.index(split.train)
        gallery_ids = [all_ids[row] for row in complete]
        gallery = read_predictions(path.with_name(path.stem + ".gallery.parquet"), gallery_ids)
        extra = {
            "features": columns["features"],
            "gallery": (gallery["features"], prepared.labels(split.train)[complete]),
        }
    metrics = score(
        context.metrics,
        labels=labels,
        logits=columns["logits"],
        num_classes=len(dataset.classes),
        positive=dataset.positive_class,
        **extra,
    )
    return metrics, labels, columns["logits"].argmax(1)


def needs_features(context: Context) -> bool:
    """Whether a metric of the protocol is computed from pooled features."""
    return any(metric.needs == "features" for metric in context.metrics)
