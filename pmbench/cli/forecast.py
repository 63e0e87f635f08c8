"""The tables of `pmbench plan`: cells, stages, time and disk."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import typer

from ..errors import plural
from ..report.text import duration, row_text
from .tables import heading, size_text, table

SHOWN = 12


def show_forecast(values: Mapping[str, Any]) -> None:
    """Prints cells, stages and the summary."""
    heading("Cells")
    _show_cells(values["cells"])
    if values["stages"]:
        heading("Stages, parents first")
        _show_stages(values["stages"])
    typer.echo("")
    _show_summary(values["summary"])
    if "lite" in values:
        typer.echo("")
        _show_lite(values["lite"])


def _show_cells(cells: Sequence[Mapping[str, Any]]) -> None:
    """Prints one row for cells that differ only in the seed."""
    rows: dict[tuple[str, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for cell in cells:
        backbones = ", ".join(f"{m}: {b}" for m, b in cell["backbones"].items())
        note = f"{cell['status']}: {cell['reason']}" if cell["reason"] else ""
        apart = {name: cell[name] for name in ("ablation", "placebo", "matched_epochs", "tuned_trials")}
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


def _show_lite(lite: Mapping[str, Any] | None) -> None:
    if lite is None:
        typer.echo("Lite: the records rank the methods of none of these tables: too few seeds or methods.")
        return
    chosen = lite["by_seeds"][lite["seeds"] - 1]
    others = "" if chosen["others"] is None else f", {chosen['others']:.2f} with those of the others alone"
    typer.echo(
        f"Lite: the first {plural(lite['seeds'], 'seed')} of {len(lite['by_seeds'])} rank the methods with "
        f"Kendall's tau {chosen['all']:.2f} to the ranks of all seeds{others}."
    )
    if lite["tables_tau"] is not None:
        typer.echo(
            f"{plural(len(lite['tables']), 'table')} of {lite['all_tables']}, by mean ranks of "
            f"{plural(lite['methods'], 'method')}: tau {lite['tables_tau']:.2f}."
        )
    for dataset, protocol in lite["tables"]:
        typer.echo(f"  --dataset {dataset} --protocol {protocol} --seeds {lite['seeds']}")
    seeds, taus = [[a[name] for a in lite["by_seeds"]] for name in ("seeds", "all")]
    typer.echo("  tau by seeds: " + ", ".join(f"{n}: {tau:.2f}" for n, tau in zip(seeds, taus, strict=True)))


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
            "Time: unknown, no similar stage was trained here; the same command with --time measures a few "
            "steps of each"
        )
    else:
        text = f"Time: about {duration(s['seconds'])}"
        if s["seconds_range"]:
            text += " ({} to {})".format(*map(duration, s["seconds_range"]))
        text += f" with {plural(s['workers'], 'stage')} side by side"
        text += f", {duration(s['seconds_of_work'])} of work"
        typer.echo(text + (f", without {plural(blind, 'stage')} of unknown cost" if blind else ""))
    size = s["bytes"]
    typer.echo(f"Disk: about {size_text(size)}" if size is not None else "Disk: unknown, for the same reason")
