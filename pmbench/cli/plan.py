"""`pmbench plan`: shows what `pmbench run` with the same options would train."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..processes import cores
from .common import data_folder, open_store, print_json, show_trace
from .selection import NamesFollowOptions, Selection, takes

if TYPE_CHECKING:
    from ..plugins import Registry
    from ..run.plan import Plan
    from ..run.request import Request


def register(app: typer.Typer) -> None:
    app.command(cls=NamesFollowOptions)(plan)


@dataclass
class PlanOptions(Selection):
    """Options of `plan`."""

    time: Annotated[
        bool,
        typer.Option("--time", help="Time a few steps of each kind of stage that was never trained here."),
    ] = False
    lite: Annotated[
        Path | None,
        typer.Option(
            metavar="RECORDS",
            help="Propose fewer seeds and tables that rank methods as these records of many do.",
        ),
    ] = None


@takes(PlanOptions)
def plan(selection: PlanOptions) -> None:
    """Show what a run would train: cells, stages, stored stages, time and disk. Stores nothing."""
    from ..errors import OTHER_CHOICE, NothingToRun
    from ..plugins import survey
    from ..run.forecast import forecast
    from ..run.matrix import plan_all
    from ..run.session import find_device
    from ..run.timing import rates_for
    from ..run.worker import Resources
    from .forecast import show_forecast

    registry = survey()
    requests = selection.requests(registry)
    store, data = open_store(selection.store, selection.shared_store), data_folder(selection.data)
    _announce_preparation(requests, registry, data)
    planned = plan_all(requests, registry, data, store)
    for trace in dict.fromkeys(cell.trace for cell in planned.cells):
        show_trace(trace)
    resources = Resources(store.root, data, find_device("auto"), shared=store.shared)
    rates, failed = rates_for(planned, requests, registry, resources, time=selection.time, report=_report)
    for reason in failed:
        print(f"Warning: not timed: {reason}", file=sys.stderr)
    found = forecast(planned, rates, cores())
    if selection.lite is not None:
        found["lite"] = _lite(selection.lite, planned)
    if selection.json_:
        print_json(found)
    else:
        show_forecast(found)
    if found["cells"] and not any(cell["status"] == "run" for cell in found["cells"]):
        raise NothingToRun("no cell can be run: " + "; ".join(sorted(_reasons(found))), OTHER_CHOICE)


def _lite(folder: Path, plan: Plan) -> dict[str, Any] | None:
    """The proposal for the tables of a plan; None if the records do not rank the methods of any."""
    from ..report.boards import boards
    from ..report.lite import propose
    from ..report.results import records

    tables = {(cell.context.dataset.name, cell.context.protocol.name) for cell in plan.cells}
    known = records(folder).records
    found = propose(boards(r for r in known if (r.cell.dataset, r.cell.protocol) in tables), tables)
    return None if found is None else asdict(found)


def _report(stage: str, done: int, total: int) -> None:
    print(f"Timing {stage} ({done + 1} of {total})", file=sys.stderr, flush=True)


def _announce_preparation(requests: Sequence[Request], registry: Registry, root: Path) -> None:
    """Prints a line for each embedded data set that will be prepared, since keys depend on prepared data."""
    from ..data.prepared import data_folder as prepared_folder

    for name in dict.fromkeys(name for request in requests for name in request.datasets):
        dataset = registry.dataset(name)
        if not prepared_folder(dataset, root).exists() and dataset.find_source() is not None:
            print(f"Preparing data set {name}, once", file=sys.stderr, flush=True)


def _reasons(values: dict[str, Any]) -> set[str]:
    return {f"{cell['method']}: {cell['reason']}" for cell in values["cells"]}
