"""Options and folders that several commands share."""

from __future__ import annotations

import os
import sys
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
    from ..files import cache_folder

    return given or cache_folder("store")


def data_folder(given: Path | None) -> Path:
    """Prepared data: `given`, or a folder in the user's cache."""
    from ..files import cache_folder

    return given or cache_folder("data")


def print_json(value: Any) -> None:
    import msgspec

    encoded = msgspec.json.encode(value, enc_hook=_plain, order="deterministic")
    typer.echo(msgspec.json.format(encoded, indent=1).decode())


def _plain(value: Any) -> float:
    """A float of a class of its own, such as NumPy's, as Python's; raises NotImplementedError for others."""
    if isinstance(value, float):
        return float(value)
    raise NotImplementedError(f"{type(value).__name__} in JSON")


def debugging() -> bool:
    """Whether the command was given `--debug`."""
    return bool(os.environ.get("PMBENCH_DEBUG"))


def show_trace(trace: str) -> None:
    """Prints a traceback on standard error with `--debug`."""
    if trace and debugging():
        print(trace, file=sys.stderr)


def interactive() -> bool:
    return sys.stderr.isatty()
