"""Searches values for small data: `uv run python benchmarks/tune.py --out trials.json`.

Every method of GRIDS gets the same number of trials: its paper's values, then draws from its grid. A trial
trains the method's stages on the training part of one protocol, under seeds that the leaderboard does not
use, and is scored on the validation groups carved out of that part: the metric of what the last stage
delivers, with the weights it delivers. Nothing is sealed or evaluated, so test data is never opened. A trial
is compared with trials of its own method alone: choosing the best epoch flatters some methods more. The best
of several trials is partly luck, so that trial and the paper's values are then run again under other seeds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
from pathlib import Path
from statistics import fmean
from typing import Any

from pmbench.cli.common import data_folder, store_folder
from pmbench.plugins import Registry, load_plugins
from pmbench.run.plan import PlannedCell, Request, make_plan
from pmbench.run.worker import Resources, Train, perform, set_threads
from pmbench.store.documents import part_of, read_stages
from pmbench.store.store import Store
from pmbench.training.device import accelerator, make_fabric

Grid = dict[str, tuple[str, ...]]
GRIDS: dict[str, Grid] = {
    "hoffman": {"weight": ("0.1", "0.3", "1", "3", "10", "30", "100", "300")},
    "kd": {"temperature": ("1", "2", "4", "8"), "imitation": ("0.3", "0.5", "0.7", "0.9")},
    "gen_distill": {"temperature": ("1", "2", "5", "10"), "imitation": ("0.25", "0.5", "0.75", "1")},
    "mdms": {
        "weight": ("0.025", "0.08", "0.25", "0.8", "2.5"),
        "alpha": ("0.25", "0.5", "0.75"),
        "imitation": ("0.25", "0.5", "0.75"),
    },
    "admd": {"bottleneck": ("4", "8", "16", "128"), "discriminator": ("action", "objects")},
    "cgan": {
        "features": ("16", "50"),
        "alpha": ("1e-3", "1e-2", "1e-1"),
        "beta": ("1e-5", "1e-4", "1e-3"),
        "noise": ("0", "0.25", "0.5"),
    },
    "amid": {
        "alpha1": ("0.4", "1.3", "4"),
        "alpha2": ("0.16", "0.5", "1.6"),
        "alpha3": ("0.1", "0.3", "1"),
        "tau": ("0.2", "0.5", "1"),
    },
    "rad": {"alpha": ("0.2", "0.4", "0.6", "0.8"), "temperature": ("1", "2", "4", "8")},
    "dad": {"beta": ("1", "3", "10", "30", "100", "300", "1000", "3000")},
    "rad_dad": {
        "alpha": ("0.2", "0.4", "0.6", "0.8"),
        "temperature": ("1", "2", "4", "8"),
        "beta": ("1", "10", "100", "1000"),
    },
}
"""Values as `--set` takes them. Which losses a method has is left as it is: only their weights, temperatures
and widths are searched.
"""


def trials(grid: Grid, paper: dict[str, str], count: int) -> list[dict[str, str]]:
    """The paper's values (nothing set), then `count` - 1 other points of the grid, drawn with one seed."""
    points = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    points = [p for p in points if p != paper]
    return [{}, *random.Random(0).sample(points, min(count - 1, len(points)))]


def paper_values(registry: Registry, method: str, grid: Grid) -> dict[str, str]:
    """The point of the grid that the method's defaults are; a default of none is at no point of a grid."""
    options = registry.method(method).options()
    return {n: next((v for v in values if _same(v, options[n].default)), "") for n, values in grid.items()}


def _same(text: str, default: Any) -> bool:
    return text == default if isinstance(default, str) or default is None else float(text) == default


def score(cell: PlannedCell, prepared: Any, resources: Resources) -> float:
    """Trains what is not stored, then the validation metric of what the last stage delivers."""
    from pmbench.training.loop import Training
    from pmbench.training.samples import training_view

    assert cell.keys, cell.skip or cell.failure
    store = Store(resources.store)
    for place, key in enumerate(cell.keys):  # parents come first
        perform(Train(key, tuple(part_of(cell.stages, place)), cell.spec), resources)
    selected = store.stage(cell.key)["selected"]["value"]
    if selected is not None:
        return float(selected)
    # a stage that only puts finished networks together has no epochs to select from: it is scored as it is
    view = training_view(prepared, cell.context.protocol, cell.context.seed)
    fabric = make_fabric(resources.device, 1)
    fabric.launch()
    value = Training(
        read_stages(cell.stages)[-1], cell.context, view, store, accelerator(fabric, False)
    )._validate()
    assert value is not None, "there is no validation data"
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--method", nargs="+", default=list(GRIDS), choices=list(GRIDS))
    parser.add_argument("--dataset", default="hapt")
    parser.add_argument("--protocol", default="few-10")
    parser.add_argument("--seed", nargs="+", type=int, default=[100], help="of the search")
    parser.add_argument("--confirm", nargs="*", type=int, default=[101, 102, 103], help="of the confirmation")
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="JSON of all trials")
    given = parser.parse_args()
    registry, resources = load_plugins(), Resources(store_folder(given.store), data_folder(given.data))
    set_threads(resources.threads)
    rows: list[dict[str, Any]] = []
    for method in given.method:
        paper = paper_values(registry, method, GRIDS[method])
        rows += [
            {"method": method, "options": options, "scores": [], "confirmed": []}
            for options in trials(GRIDS[method], paper, given.trials)
        ]

    def run(row: dict[str, Any], seed: int, kept: str) -> None:
        sets = (f"recipe.epochs={given.epochs}", *(f"{n}={v}" for n, v in row["options"].items()))
        data, protocol = (given.dataset,), (given.protocol,)
        request = Request((row["method"],), data, protocol, seeds=(seed,), sets=sets, references=False)
        plan = make_plan(request, registry, resources.data, Store(resources.store))
        row[kept].append(score(plan.cells[0], plan.prepared[given.dataset], resources))
        print(f"seed {seed}, {row['method']} {row['options'] or 'paper'}: {row[kept][-1]:.2f}", flush=True)

    for seed in given.seed:
        for row in rows:
            run(row, seed, "scores")
    for seed in given.confirm:
        for method in given.method:
            for row in pair(rows, method):
                run(row, seed, "confirmed")
    asked = {name: value for name, value in vars(given).items() if name not in ("store", "data", "out")}
    given.out.write_text(json.dumps(asked | {"trials": rows}, indent=1) + "\n", encoding="utf-8")
    print("\n" + markdown(rows))


def pair(rows: list[dict[str, Any]], method: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of a method's trials its paper's values and the best of the others; of equals, the first."""
    paper, *others = (row for row in rows if row["method"] == method)
    return paper, max(others, key=lambda row: fmean(row["scores"]))


def markdown(rows: list[dict[str, Any]]) -> str:
    """All trials, best first, and what the best one and the paper's values reach under the other seeds."""
    lines = ["| method | paper's values | other trials, best first | confirmed: paper's, best, difference |"]
    lines.append("| --- | ---: | --- | --- |")
    for method in dict.fromkeys(row["method"] for row in rows):
        paper, best = pair(rows, method)
        others = [row for row in rows if row["method"] == method and row is not paper]
        shown = "; ".join(
            f"{fmean(row['scores']):.1f} ({', '.join(f'{n} {v}' for n, v in row['options'].items())})"
            for row in sorted(others, key=lambda row: -fmean(row["scores"]))
        )
        again = "-"
        if best["confirmed"]:
            means = fmean(paper["confirmed"]), fmean(best["confirmed"])
            each = ", ".join(
                f"{b - a:+.1f}" for a, b in zip(paper["confirmed"], best["confirmed"], strict=True)
            )
            again = f"{means[0]:.1f}, {means[1]:.1f}, {means[1] - means[0]:+.1f} ({each})"
        lines.append(f"| `{method}` | {fmean(paper['scores']):.1f} | {shown} | {again} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
