"""A plan as plain values: cells, stages, time and disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..contracts.recipe import Recipe
from .estimate import Estimate, Rates
from .plan import Plan, PlannedCell, PlannedStage, needed, recipe_name


def forecast(plan: Plan, rates: Rates, workers: int) -> dict[str, Any]:
    """The JSON of `pmbench plan`. Seconds and bytes are None if no similar stage was trained or timed."""
    wanted = needed(plan, plan.cells)
    recipes = {(cell.context.dataset.name, cell.standard): cell.context.dataset for cell in plan.cells}
    names = {(name, recipe): recipe_name(data, recipe) for (name, recipe), data in recipes.items()}
    estimates = rates.estimates(plan, wanted.values())
    stages = [_stage(node, wanted, estimates) for node in plan.nodes.values()]
    known = [e for e in estimates.values() if e is not None]
    work = sum(e.seconds for e in known)
    seconds = max(work / workers, _longest(wanted, estimates)) if known or not wanted else None
    spread = rates.spread
    return {
        "cells": [_cell(cell, wanted, names) for cell in plan.cells],
        "stages": stages,
        "summary": {
            "cells": len(plan.cells),
            "cells_skipped": sum(bool(cell.skip) for cell in plan.cells),
            "cells_failed": sum(bool(cell.failure) for cell in plan.cells),
            "stages_total": plan.total_stages,
            "stages_unique": len(plan.nodes),
            "saved_by_sharing": plan.total_stages - len(plan.nodes),
            "stages_stored": sum(node.stored for node in plan.nodes.values()),
            "stages_to_train": len(wanted),
            "stages_without_estimate": len(wanted) - len(known),
            "seconds_of_work": work if known or not wanted else None,
            "seconds": seconds,
            "seconds_range": [seconds * f for f in spread] if seconds is not None and spread else None,
            "workers": workers,
            "bytes": sum(e.size for e in known) if known or not wanted else None,
        },
    }


def _cell(
    cell: PlannedCell, wanted: Mapping[str, PlannedStage], recipes: Mapping[tuple[str, Recipe], str]
) -> dict[str, Any]:
    return {
        "method": cell.method.name,
        "role": cell.method.role,
        "options": dict(cell.options),
        "ablation": cell.variant.ablation or None,
        "placebo": cell.variant.placebo or None,
        "matched_epochs": cell.spec.recipe.epochs if cell.variant.matched else None,
        "tuned_trials": cell.variant.study.trials if cell.variant.study else None,
        "value_set": cell.variant.value_set,
        "values": cell.variant.values,
        "dataset": cell.spec.dataset,
        "protocol": cell.spec.protocol,
        "backbones": {m: cell.context.backbones[m].label for m, _ in cell.spec.backbones},
        "recipe": recipes[cell.context.dataset.name, cell.standard],
        "seed": cell.spec.seed,
        "status": "skip" if cell.skip else "failed" if cell.failure else "run",
        "reason": cell.skip or cell.failure or None,
        "stages": list(cell.keys),
        "to_train": sum(key in wanted for key in cell.keys),
    }


def _stage(
    node: PlannedStage, wanted: Mapping[str, PlannedStage], estimates: Mapping[str, Estimate | None]
) -> dict[str, Any]:
    estimate = estimates.get(node.key)
    return {
        "key": node.key,
        "stage": node.stage.kind,
        "reads": list(node.stage.reads),
        "replica": node.stage.fields["replica"],
        "dataset": node.spec.dataset,
        "protocol": node.spec.protocol,
        "seed": node.spec.seed,
        "epochs": node.stage.recipe.epochs,
        "parents": list(node.parents),
        "state": "stored" if node.stored else "train" if node.key in wanted else "not needed",
        "seconds": None if estimate is None else estimate.seconds,
    }


def _longest(wanted: Mapping[str, PlannedStage], estimates: Mapping[str, Estimate | None]) -> float:
    """Seconds of the longest chain of stages; `wanted` has parents first."""
    ends: dict[str, float] = {}
    for key, node in wanted.items():
        own = estimates[key]
        before = max((ends.get(p, 0.0) for p in node.parents), default=0.0)
        ends[key] = before + (own.seconds if own else 0.0)
    return max(ends.values(), default=0.0)
