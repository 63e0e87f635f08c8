"""`dataset.toml`: what the user says of a folder of recordings; all of it is optional."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import pmbench as pm

DESCRIPTION = "dataset.toml"
HELP = "docs/your-own-recordings.md lists its keys; `pmbench data new` writes one with comments"


@dataclass(frozen=True)
class Described:
    """What `[modalities.NAME]` may say; None or empty values are guessed from the files."""

    column: str = ""
    kind: Literal["", "vector", "sequence", "sound", "image", "clip"] = ""
    unit: str = ""
    range: tuple[float, float] | None = None
    channels: int | None = None
    size: tuple[int, int] | None = None
    stored_size: tuple[int, int] | None = None
    stored: Literal["", "jpeg", "raw"] = ""
    flip: Literal["", "mirror", "negate"] | None = None
    grid: str | None = None
    seconds: float | None = None
    length: int | None = None
    time_axis: int | None = None
    rate: float | None = None
    variable: str = ""
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Description:
    """`table`: path of the list of samples; `columns`: role -> column; `target`: modalities of the test."""

    table: str = "manifest.csv"
    columns: Mapping[str, str] | None = None
    target: tuple[str, ...] = ()
    modalities: Mapping[str, Described] | None = None


_CHOICES = {
    "kind": ("vector", "sequence", "sound", "image", "clip"),
    "stored": ("jpeg", "raw"),
    "flip": ("", "mirror", "negate"),
    "time_axis": (0, 1),
}
_POSITIVE = ("channels", "length", "seconds", "rate")


def read_description(folder: Path) -> Description:
    """The description in `folder`, empty without the file; raises DataError that names the key."""
    path = folder / DESCRIPTION
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return Description()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise pm.DataError(f"{path} cannot be read: {error}", HELP) from error
    _only(path, content, {f.name for f in fields(Description)}, "")
    target = content.get("target", ())
    target = (target,) if isinstance(target, str) else tuple(target)
    columns, modalities = content.get("columns", {}), content.get("modalities", {})
    for key, value in (("columns", columns), ("modalities", modalities)):
        if not isinstance(value, dict):
            raise pm.DataError(f"{path}: {key} is {value!r}; expected a table [{key}]", HELP)
    _only(path, columns, {"id", "label", "split", "group"}, "columns.")
    described = {name: _described(path, name, values) for name, values in modalities.items()}
    return Description(str(content.get("table", Description.table)), columns, target, described)


def _described(path: Path, name: str, values: Any) -> Described:
    if not isinstance(values, dict):
        raise pm.DataError(f"{path}: modalities.{name} is {values!r}; expected [modalities.{name}]", HELP)
    _only(path, values, {f.name for f in fields(Described)}, f"modalities.{name}.")
    checked = {}
    for key, value in values.items():
        where, kept = f"{path}: modalities.{name}.{key}", value
        if key in _CHOICES:
            if value not in _CHOICES[key]:
                raise pm.DataError(f"{where} is {value!r}; expected one of {_CHOICES[key]}", HELP)
        elif key in _POSITIVE:
            whole = key in ("channels", "length")
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or value <= 0:
                raise pm.DataError(f"{where} is {value!r}; expected a positive number", HELP)
        elif key in ("size", "stored_size"):
            kept = _numbers(where, value, int)
            if min(kept) < 1:
                raise pm.DataError(f"{where} is {value!r}; expected [height, width] in pixels", HELP)
        elif key == "range":
            kept = _numbers(where, value, int | float)
            if not kept[0] < kept[1]:
                raise pm.DataError(f"{where} is {value!r}; expected [lowest, highest]", HELP)
        elif key == "columns":
            kept = tuple(map(str, value)) if isinstance(value, list) else (str(value),)
        elif not isinstance(value, str):
            raise pm.DataError(f"{where} is {value!r}; expected text", HELP)
        checked[key] = kept
    return Described(**checked)


def _numbers(where: str, value: Any, kind: Any) -> tuple[Any, Any]:
    if isinstance(value, list) and len(value) == 2 and all(isinstance(v, kind) for v in value):
        return value[0], value[1]
    raise pm.DataError(f"{where} is {value!r}; expected two numbers", HELP)


def _only(path: Path, found: Mapping[str, Any], known: set[str], before: str) -> None:
    if unknown := sorted(found.keys() - known):
        raise pm.DataError(
            f"{path}: unknown key {before}{unknown[0]}; known: {', '.join(sorted(known))}", HELP
        )
