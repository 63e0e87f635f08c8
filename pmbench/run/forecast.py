"""A plan as plain values: cells, stages, time and disk."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from ..contracts.recipe import Recipe
from ..store.store import Entry, Store
from .estimate import estimate
from .plan import Plan, PlannedCell, PlannedStage, needed, recipe_name


def forecast(plan: Plan, store: Store, workers: int) -> dict[str, Any]:
    """The JSON of `pmbench plan`. `seconds` is None if no similar stage is stored."""
    wanted = needed(plan, plan.cells)
    entries = store.entries()
    recipes = {(cell.context.dataset.name, cell.standard): cell.context.dataset for cell in plan.cells}
    names = {(name, recipe): recipe_name(data, recipe) for (name, recipe), data in recipes.items()}
    seconds = estimate(plan, wanted.values(), entries)
    sizes = _sizes(entries)
    stages = [_stage(node, wanted, seconds) for node in plan.nodes.values()]
    known = [s for s in seconds.values() if s is not None]
    work = sum(known)
    guesses = [sizes.get(node.stage.kind, sizes.get("")) for node in wanted.values()]
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
            "seconds": max(work / workers, _longest(wanted, seconds)) if known or not wanted else None,
            "workers": workers,
            "bytes": sum(g for g in guesses if g is not None) if None not in guesses else None,
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
    node: PlannedStage, wanted: Mapping[str, PlannedStage], seconds: Mapping[str, float | None]
) -> dict[str, Any]:
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
        "seconds": seconds.get(node.key),
    }


def _sizes(entries: Iterable[Entry]) -> dict[str, float]:
    """Mean bytes of stored stages by class; "" is the mean of all."""
    found = defaultdict(list)
    for entry in entries:
        for name in (str(entry.stage.get("stage")), ""):
            found[name].append(entry.size)
    return {name: sum(sizes) / len(sizes) for name, sizes in found.items()}


def _longest(wanted: Mapping[str, PlannedStage], seconds: Mapping[str, float | None]) -> float:
    """Seconds of the longest chain of stages; `wanted` has parents first."""
    ends: dict[str, float] = {}
    for key, node in wanted.items():
        ends[key] = (seconds[key] or 0.0) + max((ends.get(p, 0.0) for p in node.parents), default=0.0)
    return max(ends.values(), default=0.0)
