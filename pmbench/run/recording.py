"""Makes the records of cells."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..contracts.published import Published
from ..data.prepared import Prepared
from ..evaluation.scoring import score_predictions
from ..metrics.builtin import METRICS
from ..report.cell import AblationRow, CellInfo
from ..report.fields import LONGEST
from ..report.record import (
    Audit,
    Cost,
    Digests,
    MetricInfo,
    Provenance,
    Record,
    SampleOutcomes,
    StageRun,
    Validation,
)
from ..store.keys import digest
from .plan import PlannedCell, Variant, recipe_name
from .published import averages_for, published_for

FLAT_POINTS = 1.0
"""Percentage points that the last quarter of a flat validation curve may gain over the quarter before."""


@dataclass(frozen=True)
class Recorder:
    """Makes records. `provenance` takes the precision of a recipe; `published` holds the papers' numbers."""

    provenance: Callable[[str], Provenance]
    published: Iterable[Published]

    def finished(
        self,
        cell: PlannedCell,
        prepared: Prepared,
        stored: Mapping[str, Mapping[str, Any]],
        measured: Mapping[str, Any],
        predictions: Path,
        fresh: Container[str],
    ) -> Record:
        """The record of a cell whose predictions are written.

        `stored` has the `stage.json` of its stages by key, `measured` is the evaluator's answer, `fresh` has
        the keys of the stages trained in this run.
        """
        metrics, labels, predicted = score_predictions(cell.context, cell.inputs, prepared, predictions)
        last = stored[cell.key]
        notes = dict.fromkeys(note for key in cell.keys for note in stored[key]["lineage"][key]["notes"])
        stages = _stage_runs(cell, stored, fresh)
        cpu = [s.cpu_seconds for s in stages if s.cpu_seconds is not None]
        memory = [stored[key]["cost"].get("peak_bytes") for key in cell.keys]
        curve = [float(v) for v in last["curve"] if v is not None]
        metric, split = cell.context.protocol.metrics[0], cell.context.protocol.split
        info, higher = cell_info(cell), cell.context.metrics[0].higher_is_better
        return Record(
            cell=info,
            cell_key=cell.identity,
            row_key=cell.row_key,
            status="done",
            stages=stages,
            metrics=metrics,
            primary=metric,
            metric_info={
                m.name: MetricInfo(title=m.title, higher_is_better=m.higher_is_better)
                for m in cell.context.metrics
                if m.name not in METRICS
            },
            validation=Validation(
                rule=rule_of(cell),
                metric=metric,
                selected=last["selected"]["value"],
                curve=curve,
                flat=is_flat(curve),
                terms={
                    name: [float(f"{v:.6g}") for v in values]
                    for name, values in last.get("terms", {}).items()
                },
            ),
            audit=_audit(measured["epochs"], curve, higher),
            cost=Cost(
                train_seconds=sum(s.seconds for s in stages),
                train_seconds_spent=sum(s.seconds for s in stages if not s.reused),
                cpu_seconds=sum(cpu) if len(cpu) == len(stages) else None,
                peak_bytes=max(memory) if None not in memory else None,
                steps=sum(s.steps for s in stages),
                parameters=measured["parameters"],
                buffers=measured["buffers"],
                macs=measured["macs"],
                latency_ms=measured["latency_ms"],
                networks=cell.method.networks,
            ),
            digests=Digests(
                program=measured["program"],
                predictions=measured["predictions"],
                **digests_of_data(cell, prepared),
            ),
            samples=SampleOutcomes.of(labels, predicted, prepared.index(split.test)[1]),
            sealed=True,
            deviations=[
                *([f"demo: made-up samples, not those of {of}"] if (of := prepared.dataset.demo_of) else []),
                *(f"incomplete data, {lack}" for lack in prepared.lacks),
                *cell.method.deviations,
                *notes,
            ],
            published=published_for(cell, self.published),
            averages=averages_for(cell, self.published),
            provenance=self.provenance(cell.spec.recipe.precision),
        )

    def closed(self, cell: PlannedCell, skip: str, failure: str) -> Record:
        """The record of a cell without result: skipped for the reason `skip`, or else failed."""
        info = cell_info(cell)
        return Record(
            cell=info,
            cell_key=cell.identity,
            row_key=cell.row_key,
            status="skipped" if skip else "failed",
            reason=(skip or failure)[:LONGEST],
            published=published_for(cell, self.published),
            averages=averages_for(cell, self.published),
            provenance=self.provenance(cell.spec.recipe.precision),
        )


def _audit(test: list[float], validation: list[float], higher: bool) -> Audit | None:
    """What other choices of the epoch would have given, from the results on the test part by epoch."""
    if not test:
        return None
    sign = 1.0 if higher else -1.0
    best = max(range(len(test)), key=lambda e: (sign * test[e], e))
    chosen = None
    if len(validation) == len(test):  # as in training, the later of two equal epochs
        chosen = max(range(len(test)), key=lambda e: (sign * validation[e], e))
    return Audit(
        last=test[-1],
        validation=None if chosen is None else test[chosen],
        test=test[best],
        test_epoch=best + 1,
    )


def _stage_runs(
    cell: PlannedCell, stored: Mapping[str, Mapping[str, Any]], fresh: Container[str]
) -> list[StageRun]:
    """The stages of a cell. What the plan says of them is taken from it, not from what their process says."""
    runs = []
    for key, stage in zip(cell.keys, cell.stages, strict=True):
        cost, said = stored[key]["cost"], stored[key]["lineage"][key]
        runs.append(
            StageRun(
                key=key,
                stage=stage.kind,
                parents=[cell.keys[parent] for parent in stage.parents],
                reads=list(stage.reads),
                reused=key not in fresh,
                seconds=max(cost["seconds"], cost.get("process_seconds", 0.0)),
                cpu_seconds=cost.get("cpu_seconds"),
                steps=said["steps"],
                optimizer_steps=cost.get("optimizer_steps"),
                epochs=stage.recipe.epochs,
                selected_epoch=said["selected_epoch"],
                validation=said.get("validation"),
                near_chance=said.get("near_chance"),
                samples=said["samples"],
                departures=said["departures"],
            )
        )
    return runs


def rule_of(cell: PlannedCell) -> str:
    """How the epoch of the last stage is selected, in words."""
    select = cell.stages[-1].recipe.select
    return "best epoch on validation data" if select == "best" else "last epoch"


def digests_of_data(cell: PlannedCell, prepared: Prepared) -> dict[str, str]:
    """Digests of the prepared data and of the labels of the test part, as records hold them."""
    labels = prepared.digests(cell.context.protocol.split.test, ("labels", "index"))
    return {"labels": digest(list(labels.values())), "data": digest(prepared.fingerprint)}


def cell_info(cell: PlannedCell) -> CellInfo:
    """Identity of a planned cell, as its record holds it."""
    dataset, method = cell.context.dataset, cell.method
    return CellInfo(
        method=method.name,
        options=dict(cell.options),
        dataset=dataset.name,
        dataset_version=dataset.version,
        protocol=cell.context.protocol.name,
        backbones={m: cell.context.backbones[m].label for m, _ in cell.spec.backbones},
        seed=cell.context.seed,
        role=method.role,
        tests_on=method.tests_on,
        test_modalities=list(cell.inputs),
        target=list(cell.setting.target),
        privileged=list(cell.setting.privileged),
        num_classes=len(dataset.classes),
        positive_class=dataset.positive_class,
        recipe_set=recipe_name(dataset, cell.standard),
        value_set=cell.variant.value_set,
        values=cell.variant.values,
        ablation=_ablation_row(cell.variant),
        teacher=method.teacher(cell.options),
        placebo=cell.variant.placebo or None,
        matched_epochs=cell.spec.recipe.epochs if cell.variant.matched else None,
        study=cell.variant.study,
    )


def _ablation_row(variant: Variant) -> AblationRow | None:
    if not variant.ablation:
        return None
    printed = variant.method.ablations[variant.ablation].printed
    return AblationRow(row=variant.ablation, of=dict(variant.of), printed=list(printed))


def is_flat(curve: list[float]) -> bool | None:
    """Whether longer training would hardly have helped; None if the curve has less than 8 epochs.

    The gain of the mean of the last quarter of epochs over the quarter before must be less than FLAT_POINTS
    plus twice its standard error, estimated from the variance within the quarters.
    """
    quarter = len(curve) // 4
    if quarter < 2:
        return None
    last, before = curve[-quarter:], curve[-2 * quarter : -quarter]
    error = math.sqrt((statistics.variance(last) + statistics.variance(before)) / quarter)
    return statistics.fmean(last) - statistics.fmean(before) < FLAT_POINTS + 2 * error
