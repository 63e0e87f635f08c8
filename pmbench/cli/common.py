"""Options and places that several commands share."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import UsageError

MethodOption = Annotated[
    list[str],
    typer.Option(
        "--method", "-m", metavar="NAME", help="Method, repeated or comma-separated; `all` for every one."
    ),
]
DatasetOption = Annotated[
    list[str], typer.Option("--dataset", "-d", metavar="NAME", help="Data set, repeated or comma-separated.")
]
ProtocolOption = Annotated[
    list[str], typer.Option("--protocol", "-p", metavar="NAME", help="Protocol; the data set's default.")
]
BackboneOption = Annotated[
    list[str],
    typer.Option(
        "--backbone",
        "-b",
        metavar="NAME",
        help="Backbone for all modalities, or modality=NAME+modality=NAME.",
    ),
]
WeightsOption = Annotated[
    str,
    typer.Option(
        "--weights",
        metavar="NAME|FILE|none",
        help="Pretrained weights for all modalities whose backbone has them, or modality=NAME,modality=FILE.",
    ),
]
RecipeOption = Annotated[
    str,
    typer.Option(
        "--recipe",
        metavar="NAME",
        help="A named recipe of the data set (`pmbench show DATASET`); its default.",
    ),
]
SeedsOption = Annotated[
    int | None, typer.Option("--seeds", metavar="N", min=1, help="Seeds 0 to N-1 (3 by default).")
]
SeedOption = Annotated[
    list[int], typer.Option("--seed", metavar="S", min=0, help="One seed; repeat for several.")
]
MatrixOption = Annotated[
    Path | None, typer.Option("--matrix", metavar="FILE", help="TOML file with the cells to run.")
]
SetOption = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="name=value of a method's option, or recipe.name=value; repeat for several.",
    ),
]
AblateOption = Annotated[
    bool,
    typer.Option("--ablate", help="Add the rows of the papers' ablation tables, of methods that have some."),
]
ValuesOption = Annotated[
    str,
    typer.Option(
        "--values", metavar="SET", help="Hyper-parameters: paper, or small for those chosen for small data."
    ),
]
StoreOption = Annotated[
    Path | None,
    typer.Option("--store", metavar="DIR", envvar="PMBENCH_STORE", help="Where finished stages lie."),
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", envvar="PMBENCH_DATA", help="Where prepared data sets lie."),
]
OutOption = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="Where records, predictions and leaderboard go.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DEFAULT_OUT = Path("results")


def store_folder(given: Path | None) -> Path:
    """The store: as given, else below the user's cache folder."""
    return given or _cache() / "store"


def data_folder(given: Path | None) -> Path:
    """Prepared data: as given, else below the user's cache folder."""
    return given or _cache() / "data"


def _cache() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("pmbench", appauthor=False))


def names(values: Iterable[str]) -> tuple[str, ...]:
    """Repeated and comma-separated values as one tuple, each once."""
    parts = [part.strip() for value in values for part in value.split(",")]
    return tuple(dict.fromkeys(p for p in parts if p))


def seeds(count: int | None, given: list[int]) -> tuple[int, ...]:
    if count is not None and given:
        raise UsageError(
            "--seeds and --seed were both given", "--seeds N for seeds 0 to N-1, or --seed S for one"
        )
    return tuple(dict.fromkeys(given)) or tuple(range(count or 3))


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=1, sort_keys=True))


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def interactive() -> bool:
    return sys.stderr.isatty()
