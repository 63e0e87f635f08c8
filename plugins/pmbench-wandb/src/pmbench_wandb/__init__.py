"""Runs of Weights & Biases, offline unless WANDB_MODE says otherwise: one for each cell, at its end.

Opening a run takes seconds, and an offline run that is not finished is lost. So the epochs of stages wait
here for the record of a cell that uses them.
"""

from __future__ import annotations

import os
from typing import Any

import pmbench as pm

_epochs: dict[str, dict[int, pm.Epoch]] = {}
"""Key of each stage that this run has trained -> its epochs by number."""


@pm.hookimpl
def pmbench_epoch_finished(event: pm.Epoch) -> None:
    _epochs.setdefault(event.key, {})[event.epoch] = event


@pm.hookimpl
def pmbench_run_finished(record: Any) -> None:
    if record.status == "skipped":
        return
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    cell = record.cell
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", "pmbench"),
        mode=os.environ.get("WANDB_MODE", "offline"),
        dir=".",
        name=f"{cell.method} {cell.dataset} {cell.protocol} seed {cell.seed}",
        group=f"{cell.dataset} {cell.protocol}",
        job_type=cell.method,
        config={**cell.parameters, "cell_key": record.cell_key},
        settings=wandb.Settings(console="off", silent=True, disable_git=True, x_disable_stats=True),
    )
    for row in _rows(record):
        run.log(row)
    run.summary.update({f"test/{metric}": value for metric, value in record.metrics.items()})
    run.summary["status"] = record.status
    if record.reason:
        run.summary["reason"] = record.reason
    run.finish(exit_code=0 if record.status == "done" else 1)
    wandb.teardown()  # waits for the process that writes the run, which would be killed with this one


def _rows(record: Any) -> list[dict[str, float]]:
    """Epochs of the stages that were trained here, then those of the last stage, as the record has them."""
    rows: list[dict[str, float]] = []
    last, taken = record.stages[-1].key if record.validation is not None else "", set()
    for key, events in _stages_of(record).items():
        if key == last:
            continue
        first = next(iter(events.values()))
        label = f"{first.stage}({', '.join(first.reads)})"
        label = f"{label} {key[:8]}" if label in taken else label
        taken.add(label)
        for number, event in sorted(events.items()):
            row = {f"{label}/{name}": value for name, value in event.terms.items()} | {"epoch": number}
            if event.validation is not None:
                row[f"{label}/validation {event.metric}"] = event.validation
            rows.append(row)
    if record.validation is not None:
        curves = {f"terms/{name}": values for name, values in record.validation.terms.items()}
        curves[f"validation/{record.validation.metric}"] = record.validation.curve
        for i in range(max(map(len, curves.values()))):
            rows.append({n: values[i] for n, values in curves.items() if i < len(values)} | {"epoch": i + 1})
    return rows


def _stages_of(record: Any) -> dict[str, dict[int, pm.Epoch]]:
    """The stages of a cell that were trained; a failed cell lists none, so those of its method and seed."""
    if record.stages:
        return {stage.key: _epochs[stage.key] for stage in record.stages if stage.key in _epochs}
    cell = record.cell
    wanted = (cell.dataset, cell.protocol, cell.seed, cell.placebo or "")
    return {
        key: events
        for key, events in _epochs.items()
        for event in list(events.values())[:1]
        if cell.method in event.methods
        and (event.dataset, event.protocol, event.seed, event.placebo) == wanted
    }
