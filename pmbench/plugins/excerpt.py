"""The part of a registry that a process needs, as plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..contracts.dataset import Dataset
from ..errors import PluginError
from . import facts
from .registry import Offer, Registry, load_plugins


def excerpt(
    registry: Registry, datasets: Mapping[str, Dataset], backbones: Iterable[str], metrics: Iterable[str]
) -> dict[str, Any]:
    """Declarations of data sets, as their prepared forms declare them, of backbones and of metrics."""
    chosen = [
        *(registry.offer("dataset", name) for name in datasets),
        *(registry.offer("backbone", name) for name in backbones),
        *(registry.offer("metric", name) for name in metrics),
    ]
    return {"offers": [_write(offer, datasets) for offer in chosen]}


def loaded(values: Mapping[str, Any], distributions: Iterable[str]) -> Registry:
    """The registry of an excerpt; `distributions` are loaded, of others it has the declarations."""
    wanted = set(distributions)
    registry = load_plugins(wanted)
    for one in values["offers"]:
        if one["distribution"] not in wanted and not (
            one["kind"] == "metric" and one["name"] in registry.names("metric")
        ):
            value = facts.read(one["value"], _refuse)
            registry.add(one["distribution"], one["version"], one["kind"], [value])
    return registry


def _write(offer: Offer, datasets: Mapping[str, Dataset]) -> dict[str, Any]:
    value = datasets.get(offer.name, offer.value) if offer.kind == "dataset" else offer.value
    return {
        "kind": offer.kind,
        "name": offer.name,
        "distribution": offer.distribution,
        "version": offer.version,
        "value": facts.write(value),
    }


def _refuse(function: str, **options: Any) -> Any:
    raise PluginError(f"{function} of a plugin that this process has not loaded")
