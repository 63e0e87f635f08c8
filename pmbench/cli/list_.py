"""`pmbench list`: installed methods, data sets, backbones and protocols."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import DataOption, JsonOption, data_folder, print_json

if TYPE_CHECKING:
    from ..plugins import Registry

KINDS = ("methods", "datasets", "backbones", "protocols")


def register(app: typer.Typer) -> None:
    app.command("list")(list_)


def list_(
    kind: Annotated[
        str, typer.Argument(help=f"{', '.join(KINDS)}. [the names of all]", show_default=False)
    ] = "",
    dataset: Annotated[
        str, typer.Option("--dataset", "-d", help="Only the protocols of this data set.", show_default=False)
    ] = "",
    data: DataOption = None,
    json_: JsonOption = False,
) -> None:
    """List installed methods, data sets, backbones and protocols: names, or with a kind a line of each."""
    from ..errors import UnknownName, UsageError
    from ..plugins import survey
    from .describe import warn_broken

    if dataset and not kind:
        kind = "protocols"
    if kind and kind not in KINDS:
        raise UnknownName("kind", kind, KINDS, f"`pmbench list` takes one of {', '.join(KINDS)}")
    if dataset and kind != "protocols":
        raise UsageError(f"--dataset cannot be used with {kind}", "`pmbench list protocols --dataset NAME`")
    registry = survey()
    chosen = (kind,) if kind else KINDS
    found = {name: _values(registry, name, dataset, data_folder(data)) for name in chosen}
    if json_:
        print_json(found[kind] if kind else found)
    elif kind:
        _show(kind, found[kind])
    else:
        _show_names(found)
    warn_broken(registry)


def _values(registry: Registry, kind: str, dataset: str, data: Path) -> list[dict[str, Any]]:
    from .describe import attempt, described, offers, protocols_of

    if kind == "datasets":
        return described(registry, "dataset") + _prepared_by_name(registry, data)
    if kind != "protocols":
        return described(registry, kind.removesuffix("s"))
    chosen = [registry.offer("dataset", dataset)] if dataset else offers(registry, "dataset")
    return [values for offer in chosen for values in attempt(registry, offer, protocols_of) or ()]


def _prepared_by_name(registry: Registry, root: Path) -> list[dict[str, Any]]:
    """Values of users' own folders that are prepared."""
    from ..data.prepared import open_prepared
    from ..errors import DataError
    from .data import prepared_by_name
    from .describe import dataset_values, offers

    found = []
    for offer in offers(registry, "dataset"):
        for dataset in prepared_by_name(offer.value, root):
            try:
                values = dataset_values(open_prepared(dataset, root).dataset)
            except DataError:
                continue  # `pmbench data list` says what is wrong
            found.append(
                {**values, "distribution": offer.distribution, "version_of_distribution": offer.version}
            )
    return found


def _show_names(found: dict[str, list[dict[str, Any]]]) -> None:
    """Prints the names of each kind; of protocols, which every data set has, their number."""
    for kind, values in found.items():
        typer.echo(f"{len(values)} {kind}")
        if kind != "protocols":
            names = textwrap.wrap(" ".join(v["name"] for v in values), 98, break_on_hyphens=False)
            typer.echo(textwrap.indent("\n".join(names), "  ") + "\n")
    typer.echo(
        "  `pmbench list protocols --dataset NAME` lists those of a data set\n\n"
        "`pmbench list methods` (datasets, backbones) has a line of each, `pmbench show NAME` all of one."
    )


def _show(kind: str, values: list[dict[str, Any]]) -> None:
    from .tables import table

    if not values:
        typer.echo(f"No {kind} are installed.")
        return
    columns = _COLUMNS[kind]
    table(list(columns), [[cell(v) for cell in columns.values()] for v in values], right=("classes",))


def _setting(values: dict[str, Any]) -> str:
    return f"{', '.join(values['privileged'])} -> {', '.join(values['target'])}"


def _labels(values: dict[str, Any]) -> str:
    count, percent = values["labels_per_class"], values["paired_percent"]
    kept = "all" if count is None else f"{count} a class"
    return kept if percent == 100 else f"{kept}, {percent} % paired"


_COLUMNS: dict[str, dict[str, Callable[[dict[str, Any]], object]]] = {
    "methods": {
        "method": lambda v: v["name"],
        "role": lambda v: v["role"],
        "tests on": lambda v: v["tests_on"],
        "from": lambda v: v["distribution"],
        "summary": lambda v: v["summary"],
    },
    "datasets": {
        "data set": lambda v: v["name"],
        "privileged -> target": _setting,
        "classes": lambda v: len(v["classes"]),
        "default protocol": lambda v: v["default_protocol"],
        "from": lambda v: v["distribution"],
        "summary": lambda v: v["summary"],
    },
    "backbones": {
        "backbone": lambda v: v["name"],
        "accepts": lambda v: ", ".join(v["kinds"]),
        "provides": lambda v: ", ".join(v["provides"]),
        "from": lambda v: v["distribution"],
        "summary": lambda v: v["summary"],
    },
    "protocols": {
        "data set": lambda v: v["dataset"],
        "protocol": lambda v: v["name"] + (" (default)" if v["default"] else ""),
        "privileged -> target": _setting,
        "labels": _labels,
        "metric": lambda v: v["metrics"][0],
    },
}
