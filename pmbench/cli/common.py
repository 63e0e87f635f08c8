"""Options and folders that several commands share."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..store.store import Store

StoreOption = Annotated[
    Path | None,
    typer.Option("--store", metavar="DIR", envvar="PMBENCH_STORE", help="Folder of finished stages."),
]
SharedStoreOption = Annotated[
    Path | None,
    typer.Option(
        "--shared-store",
        metavar="DIR",
        envvar="PMBENCH_SHARED_STORE",
        help="Finished stages that are used, too; nothing is written there.",
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", envvar="PMBENCH_DATA", help="Folder of prepared data sets."),
]
OutOption = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="Folder for records, predictions and leaderboard.")
]
RecipeOption = Annotated[
    str, typer.Option(metavar="NAME", help="A recipe of the data set (`pmbench show DATASET`). [its default]")
]
WeightsOption = Annotated[
    str,
    typer.Option(
        metavar="NAME|FILE|none",
        help="Pretrained weights for all backbones that have them, or modality=NAME,modality=FILE.",
    ),
]
DeviceOption = Annotated[
    str, typer.Option(metavar="NAME", help="cpu, cuda, cuda:N; auto uses a GPU if there is one.")
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=0,
        help="Stages trained in parallel; 0 trains in this process. [cores, or 1 on a GPU]",
    ),
]
ThreadsOption = Annotated[
    int, typer.Option(metavar="N", min=1, help="Threads of one stage; results depend on it.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DEFAULT_OUT = Path("results")


def store_folder(given: Path | None) -> Path:
    """The store: `given`, or a folder in the user's cache."""
    from ..files import cache_folder

    return given or cache_folder("store")


def open_store(given: Path | None, shared: Path | None) -> Store:
    """The store, above which the shared one is; raises UsageError if that is no other folder."""
    from ..store.store import Store, check_shared

    root = store_folder(given)
    return Store(root, shared=check_shared(shared, root))


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
