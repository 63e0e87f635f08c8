"""A plan as plain values: cells, stages, time and disk."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from ..errors import plural
from ..report.text import duration, row_text
from .tables import heading, size_text, table

if TYPE_CHECKING:
    from ..contracts.recipe import Recipe
    from ..run.plan import Plan, PlannedCell, PlannedStage
    from ..store.store import Entry, Store

SHOWN = 12


def forecast(plan: Plan, store: Store, workers: int) -> dict[str, Any]:
    """The JSON of `pmbench plan`. `seconds` is None if no similar stage is stored."""
    from ..run.estimate import estimate
    from ..run.plan import needed, recipe_name

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


def show_forecast(values: Mapping[str, Any]) -> None:
    """Prints cells, stages and the summary."""
    heading("Cells")
    _show_cells(values["cells"])
    if values["stages"]:
        heading("Stages, parents first")
        _show_stages(values["stages"])
    typer.echo("")
    _show_summary(values["summary"])


def _show_cells(cells: Sequence[Mapping[str, Any]]) -> None:
    """Prints one row for cells that differ only in the seed."""
    rows: dict[tuple[str, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for cell in cells:
        backbones = ", ".join(f"{m}: {b}" for m, b in cell["backbones"].items())
        note = f"{cell['status']}: {cell['reason']}" if cell["reason"] else ""
        apart = {name: cell[name] for name in ("ablation", "placebo", "matched_epochs")}
        label = row_text(cell["method"], cell["options"], **apart)
        if cell["value_set"] != cell["values"] and cell["role"] == "method":
            note = "; ".join(
                filter(None, [note, f"{cell['values']} values, it has no {cell['value_set']} ones"])
            )
        place = cell["dataset"], cell["protocol"], backbones, cell["recipe"]
        rows[(label, cell["role"], *place, note)].append(cell)
    table(
        (
            "method",
            "role",
            "data set",
            "protocol",
            "backbones",
            "recipe",
            "seeds",
            "stages",
            "to train",
            "note",
        ),
        [
            (
                *key[:6],
                ", ".join(str(c["seed"]) for c in same),
                sum(len(c["stages"]) for c in same),
                sum(c["to_train"] for c in same),
                key[6],
            )
            for key, same in rows.items()
        ],
        right=("stages", "to train"),
    )


def _show_stages(stages: Sequence[Mapping[str, Any]]) -> None:
    table(
        ("key", "stage", "data set", "protocol", "seed", "epochs", "state", "estimate", "parents"),
        [
            (
                s["key"][:SHOWN],
                _label(s),
                s["dataset"],
                s["protocol"],
                s["seed"],
                s["epochs"],
                s["state"],
                duration(s["seconds"]) if s["state"] == "train" else "-",
                ", ".join(key[:SHOWN] for key in s["parents"]),
            )
            for s in stages
        ],
        right=("seed", "epochs", "estimate"),
    )


def _label(stage: Mapping[str, Any]) -> str:
    replica = f", replica {stage['replica']}" if stage["replica"] else ""
    return f"{stage['stage']}({', '.join(stage['reads'])}{replica})"


def _show_summary(s: Mapping[str, Any]) -> None:
    left_out = [f"{s[f'cells_{what}']} {what}" for what in ("skipped", "failed") if s[f"cells_{what}"]]
    typer.echo(plural(s["cells"], "cell") + (f" ({', '.join(left_out)})" if left_out else ""))
    typer.echo(
        f"{plural(s['stages_total'], 'stage')} in all cells, {s['stages_unique']} different "
        f"({s['saved_by_sharing']} saved by sharing): "
        f"{s['stages_stored']} stored, {s['stages_to_train']} to train"
    )
    if not s["stages_to_train"]:
        typer.echo("Nothing to train.")
        return
    blind = s["stages_without_estimate"]
    if s["seconds"] is None:
        typer.echo(
            "Time: unknown, no similar stage is stored; `pmbench run` with `--seeds 1 --set "
            "recipe.epochs=1` stores some"
        )
    else:
        text = f"Time: about {duration(s['seconds'])} with {plural(s['workers'], 'stage')} side by side"
        text += f" ({duration(s['seconds_of_work'])} of work)"
        typer.echo(text + (f", without {plural(blind, 'stage')} of unknown cost" if blind else ""))
    size = s["bytes"]
    typer.echo(
        f"Disk: about {size_text(size)}" if size is not None else "Disk: unknown, no stage is stored yet"
    )
