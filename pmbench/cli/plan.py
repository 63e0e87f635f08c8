"""`pmbench plan`: shows what `pmbench run` with the same options would train."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from ..processes import cores
from .common import data_folder, print_json, show_trace, store_folder
from .selection import Selection, takes

if TYPE_CHECKING:
    from pathlib import Path

    from ..plugins import Registry
    from ..run.request import Request


def register(app: typer.Typer) -> None:
    app.command()(plan)


@takes(Selection)
def plan(selection: Selection) -> None:
    """Show what a run would train: cells, stages, stored stages, time and disk. Trains nothing."""
    from ..errors import OTHER_CHOICE, NothingToRun
    from ..plugins import survey
    from ..run.forecast import forecast
    from ..run.matrix import plan_all
    from ..store.store import Store
    from .forecast import show_forecast

    registry = survey()
    requests = selection.requests(registry)
    store, data = Store(store_folder(selection.store)), data_folder(selection.data)
    _announce_preparation(requests, registry, data)
    planned = plan_all(requests, registry, data, store)
    for trace in dict.fromkeys(cell.trace for cell in planned.cells):
        show_trace(trace)
    found = forecast(planned, store, cores())
    if selection.json_:
        print_json(found)
    else:
        show_forecast(found)
    if found["cells"] and not any(cell["status"] == "run" for cell in found["cells"]):
        raise NothingToRun("no cell can be run: " + "; ".join(sorted(_reasons(found))), OTHER_CHOICE)


def _announce_preparation(requests: Sequence[Request], registry: Registry, root: Path) -> None:
    """Prints a line for each embedded data set that will be prepared, since keys depend on prepared data."""
    from ..data.prepared import data_folder as prepared_folder

    for name in dict.fromkeys(name for request in requests for name in request.datasets):
        dataset = registry.dataset(name)
        if not prepared_folder(dataset, root).exists() and dataset.find_source() is not None:
            print(f"Preparing data set {name}, once", file=sys.stderr, flush=True)


def _reasons(values: dict[str, Any]) -> set[str]:
    return {f"{cell['method']}: {cell['reason']}" for cell in values["cells"]}
