"""Stages of the store: keys by prefix, values and text of `list` and `show`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UnknownName, UsageError, plural
from ..report.text import duration
from .tables import date_text, fields, heading, size_text, table

if TYPE_CHECKING:
    from ..store.store import Entry, Store

SHOWN = 12
"""Number of printed digits of a key."""


def one_key(store: Store, prefix: str) -> str:
    """The stored key that begins with `prefix`; raises UsageError if there is none, or several."""
    if not re.fullmatch(r"[0-9a-f]{1,64}", prefix):
        raise UsageError(
            f"{prefix!r} is not a key; keys are hexadecimal digits", "`pmbench store list` shows the keys"
        )
    found = store.find(prefix)
    if len(found) == 1:
        return found[0]
    if found:
        some = ", ".join(key[: max(SHOWN, len(prefix) + 4)] for key in found[:5])
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        raise UsageError(
            f"{plural(len(found), 'key')} begin with {prefix!r}: {some}{more}", "give more digits"
        )
    near = UnknownName(
        "key", prefix, [key[:SHOWN] for key in store.find("")], "`pmbench store list` shows the keys"
    )
    if "did you mean" in near.message:
        raise near
    raise UsageError(f"no stage in {store.root} has a key that begins with {prefix!r}", near.hint)


def damaged(store: Store, entries: list[Entry]) -> list[str]:
    """Keys of stages whose `stage.json` cannot be read."""
    return sorted(set(store.find("")) - {entry.key for entry in entries})


def entry_values(entry: Entry) -> dict[str, Any]:
    """Values of a stage for `list`; a missing field is None."""
    stage = entry.stage
    inputs, cost = stage.get("inputs", {}), stage.get("cost", {})
    return {
        "key": entry.key,
        "stage": stage.get("stage"),
        "reads": list(inputs.get("backbones", {})),
        "methods": list(entry.methods),
        "dataset": inputs.get("dataset", {}).get("name"),
        "protocol": data_text(inputs),
        "seed": inputs.get("seed"),
        "parents": list(stage.get("parents", [])),
        "epochs": inputs.get("recipe", {}).get("epochs"),
        "seconds": cost.get("seconds"),
        "size": entry.size,
        "finished": stage.get("finished"),
    }


def data_text(inputs: Mapping[str, Any]) -> str | None:
    """Training samples of a stage: `train`, `train, 10 labels a class`.

    The name of the protocol is not part of a stage: both directions of privilege share stages.
    """
    protocol = inputs.get("protocol")
    if not protocol:
        return None
    parts = [protocol["split"]["train"]]
    if protocol.get("labels_per_class") is not None:
        parts.append(f"{protocol['labels_per_class']} labels a class")
    if protocol.get("paired_percent", 100) < 100:
        parts.append(f"{protocol['paired_percent']} % paired")
    for name, wrong in inputs.get("corruption", {}).items():
        parts.append(f"{name} with noise {wrong['noise']:g} and delay {wrong['delay']}")
    return ", ".join(parts)


def stage_values(store: Store, key: str) -> dict[str, Any]:
    """`stage.json` of a stage, its files, and its stored children."""
    folder = store.folder(key)
    files = {p.name: p.stat().st_size for p in sorted(folder.iterdir()) if p.is_file()}
    children = [e.key for e in store.entries() if key in e.stage.get("parents", [])]
    return {
        **store.stage(key),
        "key": key,
        "folder": str(folder),
        "files": files,
        "children": children,
        "methods": store.methods(key),
    }


def show_stage(values: dict[str, Any]) -> None:
    inputs, cost = values.get("inputs", {}), values.get("cost", {})
    environment, selected = values.get("environment", {}), values.get("selected", {})
    own = {k: v for k, v in inputs.get("fields", {}).items() if not _is_stage(v)}
    options = {k: v for name, value in own.items() for k, v in _flat(name, value).items()}
    took = f"{duration(cost.get('seconds'))}, {plural(cost.get('steps', 0), 'step')}, "
    took += plural(cost.get("samples", 0), "sample")
    if cost.get("waited") and cost.get("seconds"):
        took += f", {cost['waited'] / cost['seconds']:.0%} waiting for data"
    memory = size_text(cost["memory"]) + " of GPU memory" if cost.get("memory") else None
    fields(
        [
            ("stage", values.get("stage")),
            ("class", inputs.get("stage")),
            ("key", values["key"]),
            ("data set", inputs.get("dataset", {}).get("name")),
            ("trained on", data_text(inputs)),
            ("reads", ", ".join(f"{m} ({b['name']})" for m, b in inputs.get("backbones", {}).items())),
            ("seed", inputs.get("seed")),
            ("methods", ", ".join(values["methods"])),
            ("fields", ", ".join(f"{k}={v}" for k, v in options.items())),
            (
                "departures",
                [f"{k}: {v[1]} instead of {v[0]}" for k, v in values.get("departures", {}).items()],
            ),
            ("epochs", inputs.get("recipe", {}).get("epochs")),
            ("selected", f"epoch {selected['epoch']}, validation {selected['value']}" if selected else None),
            ("took", ", ".join(filter(None, (took, memory))) if cost else None),
            ("parameters", cost.get("parameters")),
            ("on", ", ".join(f"{k} {v}" for k, v in environment.items())),
            ("finished", date_text(values.get("finished"))),
            ("parents", [key[:SHOWN] for key in values.get("parents", [])]),
            ("children", [key[:SHOWN] for key in values["children"]]),
            ("folder", Path(values["folder"])),
        ]
    )
    heading("Files")
    table(
        ("file", "size"), [(name, size_text(size)) for name, size in values["files"].items()], right=("size",)
    )


def _flat(name: str, value: Any) -> dict[str, Any]:
    """Options of a stage by name; any other field unchanged."""
    return value if isinstance(value, dict) else {name: value}


def _is_stage(value: Any) -> bool:
    if isinstance(value, list):
        return any(_is_stage(v) for v in value)
    return isinstance(value, dict) and set(value) == {"key"}
