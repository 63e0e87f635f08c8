"""`pmbench plan`: what `pmbench run` with the same options would do."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Any

import typer

from .common import (
    AblateOption,
    BackboneOption,
    DataOption,
    DatasetOption,
    JsonOption,
    MatrixOption,
    MethodOption,
    ProtocolOption,
    RecipeOption,
    SeedOption,
    SeedsOption,
    SetOption,
    StoreOption,
    ValuesOption,
    WeightsOption,
    cores,
    data_folder,
    print_json,
    store_folder,
)

if TYPE_CHECKING:
    from pathlib import Path

    from ..engine.plugins import Registry
    from ..engine.request import Request


def register(app: typer.Typer) -> None:
    app.command()(plan)


def plan(
    method: MethodOption = [],  # noqa: B006
    dataset: DatasetOption = [],  # noqa: B006
    protocol: ProtocolOption = [],  # noqa: B006
    backbone: BackboneOption = [],  # noqa: B006
    recipe: RecipeOption = "",
    weights: WeightsOption = "",
    seeds: SeedsOption = None,
    seed: SeedOption = [],  # noqa: B006
    matrix: MatrixOption = None,
    set_: SetOption = [],  # noqa: B006
    values: ValuesOption = "paper",
    ablate: AblateOption = False,
    store: StoreOption = None,
    data: DataOption = None,
    json_: JsonOption = False,
) -> None:
    """Show what a run would train: cells, stages, what is stored, time and disk. Nothing is trained."""
    from ..engine.plan import make_plan
    from ..engine.plugins import load_plugins
    from ..engine.store import Store
    from ..errors import NothingToRun
    from .forecast import forecast, show_forecast
    from .matrix import request_of

    registry = load_plugins()
    request = request_of(
        registry, method, dataset, protocol, backbone, seeds, seed, set_, matrix, weights, recipe
    )
    request = dataclasses.replace(request, ablate=ablate, value_set=values)
    opened, root = Store(store_folder(store)), data_folder(data)
    _tell_of_preparing(request, registry, root)
    found = forecast(make_plan(request, registry, root, opened), opened, cores())
    if json_:
        print_json(found)
    else:
        show_forecast(found)
    if found["cells"] and not any(cell["status"] == "run" for cell in found["cells"]):
        raise NothingToRun("no cell can be run: " + "; ".join(sorted(_reasons(found))))


def _tell_of_preparing(request: Request, registry: Registry, root: Path) -> None:
    """Keys depend on the prepared data, so an embedded data set is prepared now; that may take a moment."""
    from ..engine.prepared import data_folder as prepared_folder

    for name in request.datasets:
        dataset = registry.dataset(name)
        if not prepared_folder(dataset, root).exists() and dataset.find_source() is not None:
            print(f"Preparing data set {name}, once", file=sys.stderr, flush=True)


def _reasons(values: dict[str, Any]) -> set[str]:
    return {f"{cell['method']}: {cell['reason']}" for cell in values["cells"]}
