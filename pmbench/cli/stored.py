"""Stages of the store: keys by prefix, values and text of `list` and `show`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UnknownName, UsageError, plural
from ..report.text import duration
from ..store.listing import samples_text
from .tables import date_text, fields, heading, size_text, table

if TYPE_CHECKING:
    from ..store.listing import Entry
    from ..store.store import Store

SHOWN = 12
"""Number of printed digits of a key."""


def check_prefix(prefix: str) -> str:
    """`prefix`, if a key can begin with it; raises UsageError."""
    if not re.fullmatch(r"[0-9a-f]{1,64}", prefix):
        raise UsageError(
            f"{prefix!r} is not a key; keys are hexadecimal digits", "`pmbench store list` shows the keys"
        )
    return prefix


def one_key(store: Store, prefix: str) -> str:
    """The stored key that begins with `prefix`; raises UsageError if there is none, or several."""
    found = store.find(check_prefix(prefix))
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


def entry_values(entry: Entry) -> dict[str, Any]:
    """Values of a stage for `list`; a missing field is None."""
    return {
        "key": entry.key,
        "stage": entry.stage,
        "reads": entry.reads,
        "methods": entry.methods,
        "dataset": entry.dataset,
        "protocol": entry.trained_on,
        "seed": entry.seed,
        "parents": entry.parents,
        "epochs": entry.epochs,
        "seconds": entry.seconds,
        "size": entry.size,
        "finished": entry.finished,
    }


def stage_values(store: Store, key: str) -> dict[str, Any]:
    """`stage.json` of a stage, its files, and its stored children."""
    folder = store.folder(key)
    files = {p.name: p.stat().st_size for p in sorted(folder.iterdir()) if p.is_file()}
    children = [e.key for e in store.entries() if key in e.parents]
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
            ("trained on", samples_text(inputs)),
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


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(f.stat().st_size for f in files if f.is_file())
