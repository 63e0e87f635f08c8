"""Runs of MLflow: one for each stage while it trains, and one for each cell."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import pmbench as pm

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

_stages: dict[str, tuple[str, pm.Epoch]] = {}
"""Key of each stage that is being trained -> its run, and its last epoch."""


@cache
def _client() -> tuple[MlflowClient, str]:
    """A client of MLFLOW_TRACKING_URI, else of `mlflow.db` in the working folder; and its experiment."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client, name = MlflowClient(), os.environ.get("MLFLOW_EXPERIMENT_NAME", "pmbench")
    if (found := client.get_experiment_by_name(name)) is not None:
        return client, found.experiment_id
    try:
        return client, client.create_experiment(name)
    except MlflowException:  # another run has made it meanwhile
        if (found := client.get_experiment_by_name(name)) is None:
            raise
        return client, found.experiment_id


@pm.hookimpl
def pmbench_epoch_finished(event: pm.Epoch) -> None:
    client, experiment = _client()
    run = _stages[event.key][0] if event.key in _stages else _start_stage(client, experiment, event)
    _stages[event.key] = run, event
    values = {f"terms/{name}": value for name, value in event.terms.items()} | {"seconds": event.seconds}
    if event.validation is not None:
        values[f"validation/{event.metric}"] = event.validation
    client.log_batch(run, metrics=_metrics(values, event.epoch))
    if event.epoch == event.epochs:
        client.set_terminated(run)
        del _stages[event.key]


def _start_stage(client: MlflowClient, experiment: str, event: pm.Epoch) -> str:
    name = f"{event.stage} {event.dataset} {event.protocol} seed {event.seed}"
    tags = {"pmbench.kind": "stage", "pmbench.stage": event.key, "pmbench.methods": ", ".join(event.methods)}
    run = client.create_run(experiment, run_name=name, tags=tags).info.run_id
    known = {"dataset": event.dataset, "protocol": event.protocol, "seed": event.seed, "epochs": event.epochs}
    for parameter, value in ({"stage": event.stage, "reads": ", ".join(event.reads)} | known).items():
        client.log_param(run, parameter, value)
    return run


@pm.hookimpl
def pmbench_run_finished(record: Any) -> None:
    if record.status == "skipped":
        return
    from mlflow.entities import Param

    client, experiment = _client()
    cell, done = record.cell, record.status == "done"
    tags = {
        "pmbench.kind": "cell",
        "pmbench.cell": record.cell_key,
        "pmbench.stages": ", ".join(stage.key for stage in record.stages),
        **({} if done else {"pmbench.reason": record.reason}),
    }
    name = f"{cell.method} {cell.dataset} {cell.protocol} seed {cell.seed}"
    run = client.create_run(experiment, run_name=name, tags=tags).info.run_id
    metrics = _metrics({f"test/{metric}": value for metric, value in record.metrics.items()}, 0)
    if record.validation is not None:
        for term, values in record.validation.terms.items():
            for epoch, value in enumerate(values, 1):
                metrics += _metrics({f"terms/{term}": value}, epoch)
        for epoch, value in enumerate(record.validation.curve, 1):
            metrics += _metrics({f"validation/{record.validation.metric}": value}, epoch)
    params = [Param(_name(key), str(value)) for key, value in cell.parameters.items()]
    client.log_batch(run, params=params)
    for first in range(0, len(metrics), 1000):  # the most that MLflow takes at once
        client.log_batch(run, metrics=metrics[first : first + 1000])
    client.set_terminated(run, "FINISHED" if done else "FAILED")
    if not done:
        _end_stages(client, cell)


def _end_stages(client: MlflowClient, cell: Any) -> None:
    """Marks the stages of a failed cell that have not ended as failed; one that goes on ends as finished."""
    for run, event in _stages.values():
        same = (event.dataset, event.protocol, event.seed) == (cell.dataset, cell.protocol, cell.seed)
        if same and cell.method in event.methods:
            client.set_terminated(run, "FAILED")


def _metrics(values: Mapping[str, float], step: int) -> list[Metric]:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)  # milliseconds since 1970
    return [Metric(_name(name), value, now, step) for name, value in values.items()]


def _name(text: str) -> str:
    """A name of the characters that MLflow allows."""
    return re.sub(r"[^\w\-. :/]", "_", text)
