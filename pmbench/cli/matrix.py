"""What to run, from options or from a matrix file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UnknownName, UsageError
from .common import names, seeds

if TYPE_CHECKING:
    from ..engine.plugins import Registry
    from ..engine.request import Request

_FIELDS = ("methods", "datasets", "protocols", "backbones", "seeds", "set", "weights", "recipe")
DEFAULT_DATASET = "hapt"


def request_of(
    registry: Registry,
    method: list[str],
    dataset: list[str],
    protocol: list[str],
    backbone: list[str],
    count: int | None,
    seed: list[int],
    sets: list[str],
    matrix: Path | None,
    weights: str,
    recipe: str,
) -> Request:
    """One request; options override what a matrix file says."""
    from ..engine.request import Request

    said = _read(matrix) if matrix else {}
    methods = names(method) or tuple(said.get("methods", ()))
    if not methods:
        raise UsageError("no method to run", "give --method NAME (`pmbench list methods`) or --matrix FILE")
    datasets = names(dataset) or tuple(said.get("datasets", ())) or (DEFAULT_DATASET,)
    if "all" in methods:
        methods = tuple(registry.names("method"))
    if "all" in datasets:
        datasets = tuple(registry.names("dataset"))
    chosen = said.get("seeds") if count is None and not seed else None
    return Request(
        methods,
        datasets,
        names(protocol) or tuple(said.get("protocols", ())),
        names(backbone) or tuple(said.get("backbones", ())),
        seeds(chosen, []) if isinstance(chosen, int) else tuple(chosen) if chosen else seeds(count, seed),
        (*(f"{k}={v}" for k, v in said.get("set", {}).items()), *sets),
        recipe=recipe or said.get("recipe", ""),
        weights=weights or said.get("weights", ""),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"matrix {path} cannot be read: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"matrix {path} is not TOML: {error}") from error
    for name, value in said.items():
        if name not in _FIELDS:
            raise UnknownName(f"field of matrix {path}", name, _FIELDS)
        if name in ("weights", "recipe") and not isinstance(value, str):
            raise UsageError(f"matrix {path}: {name} is {value!r}; expected what --{name} takes")
        if name not in ("seeds", "set", "weights", "recipe") and not (
            isinstance(value, list) and all(isinstance(v, str) for v in value)
        ):
            raise UsageError(f"matrix {path}: {name} is {value!r}; expected a list of names")
    return said
