"""Stages and cells as JSON documents, to be sent to other processes."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any

from ..contracts.backbone import Weights
from ..contracts.options import Options
from ..contracts.recipe import Recipe
from ..contracts.stage import Stage
from ..errors import ContractError
from .keys import CellSpec

Document = Mapping[str, Any]


def write_stage(stage: Stage) -> dict[str, Any]:
    """The document of a stage: its class, and its fields with the documents of other stages.

    Raises ContractError for a class that cannot be imported by its name.
    """
    return {"class": _name(type(stage)), "fields": _fields(stage)}


def read_stage(document: Document) -> Stage:
    """The stage of a document; imports the modules of its classes.

    Raises ContractError unless the document names a subclass of Stage and fields that it has.
    """
    kind = _find(document["class"], Stage)
    return kind(**{name: _read(value) for name, value in document["fields"].items()})


def modules_of(document: Document) -> set[str]:
    """Names of the modules whose classes a document names."""
    found = {document["class"].partition(":")[0]}
    waiting = list(document["fields"].values())
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            found.add(value["class"].partition(":")[0])
            waiting += value["fields"].values()
    return found


def write_spec(spec: CellSpec) -> dict[str, Any]:
    return dataclasses.asdict(spec)


def read_spec(document: Document) -> CellSpec:
    return CellSpec(
        document["dataset"],
        document["protocol"],
        tuple((modality, name) for modality, name in document["backbones"]),
        Recipe(**{name: _read(value) for name, value in document["recipe"].items()}),
        document["seed"],
        tuple((modality, Weights(**weights)) for modality, weights in document["weights"]),
    )


def _fields(value: Any) -> dict[str, Any]:
    return {f.name: _write(getattr(value, f.name)) for f in dataclasses.fields(value)}


def _write(value: Any) -> Any:
    if isinstance(value, Stage | Options):
        return {"class": _name(type(value)), "fields": _fields(value)}
    if isinstance(value, tuple):
        return [_write(one) for one in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ContractError(
        f"a field of a stage is {value!r}; expected a plain value, a tuple, options or a stage"
    )


def _read(value: Any) -> Any:
    if isinstance(value, dict):
        kind = _find(value["class"], (Stage, Options))
        return kind(**{name: _read(inner) for name, inner in value["fields"].items()})
    return tuple(_read(inner) for inner in value) if isinstance(value, list) else value


def _name(kind: type) -> str:
    name = f"{kind.__module__}:{kind.__qualname__}"
    if "<locals>" in name:
        raise ContractError(
            f"class {kind.__qualname__} of module {kind.__module__} is defined inside a function",
            "define stages at the top level of a module, so that other processes can import them",
        )
    return name


def _find(name: str, expected: type | tuple[type, ...]) -> Any:
    module, _, path = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    if not (isinstance(found, type) and issubclass(found, expected)):
        raise ContractError(f"{name} is no class of stages or options")
    return found
