"""Options and folders that several commands share."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

StoreOption = Annotated[
    Path | None,
    typer.Option("--store", metavar="DIR", envvar="PMBENCH_STORE", help="Folder of finished stages."),
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", envvar="PMBENCH_DATA", help="Folder of prepared data sets."),
]
OutOption = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="Folder for records, predictions and leaderboard.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DEFAULT_OUT = Path("results")


def store_folder(given: Path | None) -> Path:
    """The store: `given`, or a folder in the user's cache."""
    return given or _cache() / "store"


def data_folder(given: Path | None) -> Path:
    """Prepared data: `given`, or a folder in the user's cache."""
    return given or _cache() / "data"


def _cache() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("pmbench", appauthor=False))


def names(values: Iterable[str]) -> tuple[str, ...]:
    """Unique names of repeated and comma-separated values, in order; commas in [ ] belong to a name."""
    parts = [part.strip() for value in values for part in re.split(r",(?![^\[]*\])", value)]
    return tuple(dict.fromkeys(p for p in parts if p))


def print_json(value: Any) -> None:
    import msgspec

    typer.echo(msgspec.json.format(msgspec.json.encode(value, order="deterministic"), indent=1).decode())


def debugging() -> bool:
    """Whether the command was given `--debug`."""
    return bool(os.environ.get("PMBENCH_DEBUG"))


def show_trace(trace: str) -> None:
    """Prints a traceback on standard error with `--debug`."""
    if trace and debugging():
        print(trace, file=sys.stderr)


def interactive() -> bool:
    return sys.stderr.isatty()
