"""`pmbench plugins`: installed distributions, their offers, and those that could not be loaded."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import typer

from .common import JsonOption, print_json

if TYPE_CHECKING:
    from ..plugins import Registry


def register(app: typer.Typer) -> None:
    app.command()(plugins)


def plugins(json_: JsonOption = False) -> None:
    """List installed plugins: their offers, broken ones, and names that clash."""
    from ..plugins import survey
    from .describe import warn_broken

    registry = survey()
    loaded = _loaded(registry)
    collisions = [
        {"kind": kind, "name": name, "distributions": owners} for kind, name, owners in registry.collisions()
    ]
    if json_:
        broken = [
            {"distribution": b.distribution, "version": b.version, "where": b.where, "error": b.error}
            for b in registry.broken
        ]
        print_json({"plugins": loaded, "broken": broken, "collisions": collisions})
    else:
        _show(loaded, registry, collisions)
    warn_broken(registry)
    for c in collisions:
        owners = " and ".join(c["distributions"])
        print(f"Warning: {c['kind']} {c['name']!r} is offered more than once, by {owners}", file=sys.stderr)


def _loaded(registry: Registry) -> list[dict[str, Any]]:
    """One entry for each distribution, also if it only implements `pmbench_run_finished`."""
    found: dict[str, dict[str, Any]] = {}

    def entry(distribution: str, version: str) -> dict[str, Any]:
        blank = {"distribution": distribution, "version": version, "hooks": []}
        return found.setdefault(distribution, blank | {f"{kind}s": [] for kind in registry.offers})

    for distribution, hooks in registry.hooks.items():
        entry(distribution, registry.distributions[distribution])["hooks"] += hooks
    for kind, names in registry.offers.items():
        for name, offers in names.items():
            for offer in offers:
                entry(offer.distribution, offer.version)[f"{kind}s"].append(name)
    for offers in registry.families.values():
        for offer in offers:
            entry(offer.distribution, offer.version)["backbones"].append(offer.name)
    for values in found.values():
        for name, value in values.items():
            values[name] = sorted(value) if isinstance(value, list) else value
    return [found[name] for name in sorted(found)]


def _show(loaded: list[dict[str, Any]], registry: Registry, collisions: list[dict[str, Any]]) -> None:
    from .tables import heading, table

    rows = []
    for plugin in loaded:
        offered = [(kind, plugin[f"{kind}s"]) for kind in registry.offers]
        texts = [f"{_TITLES[kind]}: {', '.join(names)}" for kind, names in offered if names]
        if "pmbench_published" in plugin["hooks"]:
            texts.append("published numbers")
        if "pmbench_run_finished" in plugin["hooks"]:
            texts.append("receives every record")
        rows += [
            (plugin["distribution"] if i == 0 else "", plugin["version"] if i == 0 else "", text)
            for i, text in enumerate(texts or ["nothing"])
        ]
    table(("distribution", "version", "offers"), rows)
    if registry.broken:
        heading("Broken; everything else works")
        broken = [(b.distribution, b.version, b.where, b.error) for b in registry.broken]
        table(("distribution", "version", "where", "error"), broken)
    if collisions:
        heading("Names offered more than once; using one of them is an error")
        table(
            ("kind", "name", "by"),
            [(c["kind"], c["name"], ", ".join(c["distributions"])) for c in collisions],
        )


_TITLES = {
    "method": "methods",
    "dataset": "data sets",
    "backbone": "backbones",
    "metric": "metrics",
    "modality_kind": "kinds of modalities",
}
