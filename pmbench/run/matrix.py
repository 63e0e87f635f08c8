"""One plan for several requests, whose stages and cells are shared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..data.prepared import Prepared
from ..plugins import Registry
from ..store.store import Store
from .plan import Plan, PlannedCell, PlannedStage, make_plan
from .request import Request


def plan_all(requests: Sequence[Request], registry: Registry, data: Path, store: Store) -> Plan:
    """The plan of all requests; a cell that several ask for is in it once. Raises as `make_plan` does."""
    cells: dict[Path, PlannedCell] = {}
    nodes: dict[str, PlannedStage] = {}
    prepared: dict[str, Prepared] = {}
    for request in requests:
        plan = make_plan(request, registry, data, store)
        for cell in plan.cells:
            cells.setdefault(cell.path, cell)
        for key, node in plan.nodes.items():
            nodes.setdefault(key, node)
        prepared |= plan.prepared
    return Plan(list(cells.values()), nodes, prepared)
