"""Estimates of how long stages train."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ..store.store import Entry
from .plan import Plan, PlannedStage


def estimate(plan: Plan, nodes: Iterable[PlannedStage], entries: Iterable[Entry]) -> dict[str, float | None]:
    """Key -> estimated seconds, from stored stages of the same class and data; None without such a stage."""
    rates: dict[tuple[str, ...], list[float]] = {}
    for entry in entries:
        cost, inputs = entry.stage.get("cost", {}), entry.stage.get("inputs", {})
        if not cost.get("steps") or "dataset" not in inputs:
            continue
        rate = cost["seconds"] / cost["steps"]
        backbones = [backbone["name"] for backbone in inputs["backbones"].values()]
        for sign in _signs(inputs["stage"], inputs["dataset"]["name"], backbones):
            rates.setdefault(sign, []).append(rate)
    found: dict[str, float | None] = {}
    for node in nodes:
        recipe = node.stage.recipe
        samples = plan.prepared[node.spec.dataset].count(node.context.protocol.split.train)
        steps = recipe.epochs * math.ceil(samples / recipe.batch_size)
        backbones = [node.context.backbones[name].name for name in node.stage.reads]
        known = next(
            (rates[s] for s in _signs(node.stage.name_in_keys, node.spec.dataset, backbones) if s in rates),
            None,
        )
        found[node.key] = None if known is None else steps * sorted(known)[len(known) // 2]
    return found


def _signs(stage: str, dataset: str, backbones: Iterable[str]) -> list[tuple[str, ...]]:
    names = tuple(sorted(backbones))
    return [(stage, dataset, *names), (dataset, *names), (dataset,)]
