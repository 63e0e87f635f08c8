"""Epochs of a record's last stage, as a run would have told them, for tests of listening plugins."""

from __future__ import annotations

from pathlib import Path

import pmbench as pm
from pmbench.report.record import Record
from pmbench.report.record_files import read_record

RECORDS = Path(__file__).parents[2] / "leaderboard" / "records"


def record_of(method: str) -> Record:
    """A committed record of a method, with curves."""
    paths = sorted((RECORDS / "mfeat").rglob(f"{method}-s0.json"))
    return next(record for record in map(read_record, paths) if record.validation and record.validation.terms)


def epochs_of(record: Record, stage: int = -1) -> list[pm.Epoch]:
    """One event for each epoch of a stage, with the values of the last one."""
    trained, validation = record.stages[stage], record.validation
    assert validation is not None
    return [
        pm.Epoch(
            key=trained.key,
            stage=trained.stage,
            reads=tuple(trained.reads),
            methods=(record.cell.method,),
            dataset=record.cell.dataset,
            protocol=record.cell.protocol,
            seed=record.cell.seed,
            placebo="",
            epoch=number,
            epochs=len(validation.curve),
            terms={name: values[number - 1] for name, values in validation.terms.items()},
            metric=validation.metric,
            validation=validation.curve[number - 1],
            seconds=0.5,
        )
        for number in range(1, len(validation.curve) + 1)
    ]
