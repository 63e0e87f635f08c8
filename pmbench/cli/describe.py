"""What is installed, as plain values: the same for tables, `show` and JSON."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ..report.text import option_text
from ..tracebacks import error_text, trace_of
from .common import show_trace

if TYPE_CHECKING:
    from ..contracts.backbone import Backbone, BackboneFamily
    from ..contracts.dataset import Dataset
    from ..contracts.method import Method
    from ..contracts.protocol import Protocol
    from ..contracts.search import Search
    from ..plugins import Offer, Registry

Values = dict[str, Any]


def method_values(method: Method) -> Values:
    return {
        "name": method.name,
        "summary": method.summary,
        "paper": method.paper,
        "role": method.role,
        "tests_on": method.tests_on,
        "networks": method.networks,
        "teacher": method.teacher({}),
        "teachers": dict(method.teachers),
        "options": {
            name: {
                "type": type_text(o.type),
                "default": _plain(o.default),
                "within": o.within,
                "search": search_text(method.search.get(name, "")),
                "help": o.help,
            }
            for name, o in method.options().items()
        },
        "deviations": list(method.deviations),
        "ablations": {
            row: {
                "options": {n: _plain(v) for n, v in ablation.options.items()},
                "printed": list(ablation.printed),
            }
            for row, ablation in method.ablations.items()
        },
        "deliveries": [
            {
                "when": {n: _plain(v) for n, v in d.when.items()},
                "tests_on": d.tests_on,
                "networks": d.networks,
            }
            for d in method.deliveries
        ],
        "small": {name: _plain(value) for name, value in method.small.items()},
        "exceptions": dict(method.exceptions),
        "about": _rest(inspect.getdoc(method.plan)),
    }


def search_text(search: Search) -> str:
    """`log [0.1, 100]`, or `1.0, 2.0, 4.0`; empty without a search space."""
    return search if isinstance(search, str) else ", ".join(map(option_text, search))


def dataset_values(dataset: Dataset) -> Values:
    return {
        "name": dataset.name,
        "summary": dataset.summary,
        "version": dataset.version,
        "classes": list(dataset.classes),
        "modalities": [
            {"name": m.name, "kind": m.kind, "shape": list(m.shape), "unit": m.unit, "grid": m.grid}
            for m in dataset.modalities
        ],
        "target": list(dataset.target),
        "privileged": list(dataset.privileged),
        "splits": {name: dataclasses.asdict(split) for name, split in dataset.splits.items()},
        "averages": {name: list(splits) for name, splits in dataset.averages.items()},
        "default_protocol": dataset.protocol(dataset.default_protocol).name,
        "protocols": dataset.protocol_names(),
        "metrics": list(dataset.metrics),
        "backbones": dict(dataset.backbones),
        "recipes": {name: dataclasses.asdict(recipe) for name, recipe in dataset.recipes.items()},
        "expected": {part: list(n) if isinstance(n, tuple) else n for part, n in dataset.expected.items()},
        "licence": dataset.licence,
        "source": dataset.source,
        "citation": dataset.citation,
        "access": dataset.access,
        "embedded": dataset.find_source() is not None,
        "about": _rest(inspect.getdoc(dataset)) if dataset.declaration is None else "",
    }


def backbone_values(backbone: Backbone | BackboneFamily) -> Values:
    """Values of a backbone, or of a family, which has no size and weights."""
    pretrained = getattr(backbone, "pretrained", None)
    return {
        "name": backbone.name,
        "summary": backbone.summary,
        "kinds": sorted(backbone.kinds),
        "provides": sorted(backbone.provides, reverse=True),
        "size": getattr(backbone, "size", None),
        "weights": dict(pretrained.urls) if pretrained else {},
    }


def protocol_values(dataset: Dataset, protocol: Protocol) -> Values:
    return {
        "dataset": dataset.name,
        "name": protocol.name,
        "default": protocol.name == dataset.protocol(dataset.default_protocol).name,
        "split": protocol.split_name,
        "target": list(protocol.target),
        "privileged": list(protocol.privileged),
        "metrics": list(protocol.metrics),
        "labels_per_class": protocol.labels_per_class,
        "paired_percent": protocol.paired_percent,
        "noise": protocol.corruption.noise,
        "delay": protocol.corruption.delay,
    }


def protocols_of(dataset: Dataset) -> list[Values]:
    """Values of the protocols worth listing, the default one first; names of one protocol once."""
    protocols = {p.name: p for p in map(dataset.protocol, dataset.protocol_names())}
    return [protocol_values(dataset, protocol) for protocol in protocols.values()]


DESCRIBE: dict[str, Callable[[Any], Values]] = {
    "method": method_values,
    "dataset": dataset_values,
    "backbone": backbone_values,
}


def offers(registry: Registry, kind: str) -> Iterable[Offer]:
    """All offers of a kind by name, `cnn-8` before `cnn-16`; also those of a name that is offered twice."""
    for name in sorted(registry.names(kind), key=_natural):
        yield from registry.offers[kind][name]


def _families(registry: Registry, kind: str) -> Iterable[Offer]:
    for name in sorted(registry.families) if kind == "backbone" else ():
        yield from registry.families[name]


def described(registry: Registry, kind: str) -> list[Values]:
    """Values of all offers of a kind. One that cannot be described is noted as broken and left out."""
    found = []
    for offer in (*offers(registry, kind), *_families(registry, kind)):
        values = attempt(registry, offer, DESCRIBE[kind])
        if values is not None:
            found.append(
                {**values, "distribution": offer.distribution, "version_of_distribution": offer.version}
            )
    return found


def attempt(registry: Registry, offer: Offer, describe: Callable[[Any], Any]) -> Any:
    """`describe(value)`, or None if the declarations of the plugin raise."""
    try:
        return describe(offer.value)
    except Exception as error:
        where = f"declarations of {offer.name}"
        registry.note_broken(offer.distribution, where, error_text(error), trace_of(error))
        return None


def warn_broken(registry: Registry) -> None:
    """Prints a line on standard error for each plugin that could not be loaded."""
    for broken in registry.broken:
        reason = " ".join(broken.error.split())
        print(f"Warning: {broken.distribution} {broken.version}: {broken.where}: {reason}", file=sys.stderr)
        show_trace(broken.trace)


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", name)]


def type_text(kind: Any) -> str:
    """A type in the terms of `--set`: `int`, `a or b`, `float or none`."""
    if kind is type(None):
        return "none"
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        return " or ".join(type_text(k) for k in typing.get_args(kind))
    if typing.get_origin(kind) is typing.Literal:
        return " or ".join(map(str, typing.get_args(kind)))
    if typing.get_origin(kind) is tuple:
        return f"{type_text(typing.get_args(kind)[0])}+..."
    return getattr(kind, "__name__", str(kind))


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _rest(text: str | None) -> str:
    """A docstring without its first paragraph, which `summary` says; whole if that has several lines."""
    first, _, rest = (text or "").strip().partition("\n\n")
    return text.strip() if text and "\n" in first else rest.strip()
