"""Options of `run` and `plan` that select cells, with or without a matrix file."""

from __future__ import annotations

import functools
import inspect
import tomllib
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand

from ..contracts.options import split_names
from ..errors import UnknownName, UsageError
from .common import DataOption, JsonOption, RecipeOption, SharedStoreOption, StoreOption, WeightsOption

if TYPE_CHECKING:
    from ..plugins import Registry
    from ..run.request import Request

T = TypeVar("T")
_LISTS = ("methods", "datasets", "protocols", "backbones", "placebo")
_MATRIX = (*_LISTS, "seeds", "set", "weights", "recipe", "matched_compute")


def takes(kind: type[T]) -> Callable[[Callable[[T], None]], Callable[..., None]]:
    """Makes the fields of the dataclass `kind` the command-line options of a command."""
    hints = typing.get_type_hints(kind, include_extras=True)
    parameters = [
        inspect.Parameter(
            f.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=f.default if f.default_factory is MISSING else f.default_factory(),
            annotation=hints[f.name],
        )
        for f in fields(kind)  # type: ignore[arg-type]
    ]

    def decorate(command: Callable[[T], None]) -> Callable[..., None]:
        @functools.wraps(command)
        def wrapped(**values: Any) -> None:
            command(kind(**values))

        wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
        return wrapped

    return decorate


class NamesFollowOptions(TyperCommand):
    """A command that takes names by options alone, and says so where one is given without."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.allow_extra_args = True
        rest = super().parse_args(ctx, args)
        if ctx.args:
            from ..plugins import survey

            registry = survey()
            named = [f"--{'dataset' if registry.has('dataset', n) else 'method'} {n}" for n in ctx.args]
            raise UsageError(
                f"{ctx.command_path} takes no name without its option: {' '.join(ctx.args)}",
                f"did you mean `{' '.join([ctx.command_path, *named])}`?",
            )
        return rest


@dataclass
class Selection:
    """Options that select cells."""

    method: Annotated[
        list[str],
        typer.Option(
            "--method",
            "-m",
            metavar="NAME",
            help="Method, or variant: NAME[option=value]; repeated or comma-separated; `all` for all.",
        ),
    ] = field(default_factory=list)
    dataset: Annotated[
        list[str],
        typer.Option("--dataset", "-d", metavar="NAME", help="Data set, repeated or comma-separated."),
    ] = field(default_factory=list)
    protocol: Annotated[
        list[str], typer.Option("--protocol", "-p", metavar="NAME", help="Protocol. [that of the data set]")
    ] = field(default_factory=list)
    backbone: Annotated[
        list[str],
        typer.Option(
            "--backbone",
            "-b",
            metavar="NAME",
            help="Backbone for all modalities, or modality=NAME,modality=NAME.",
        ),
    ] = field(default_factory=list)
    recipe: RecipeOption = ""
    weights: WeightsOption = ""
    seeds: Annotated[int | None, typer.Option(metavar="N", min=1, help="Seeds 0 to N-1 (3 by default).")] = (
        None
    )
    seed: Annotated[
        list[int], typer.Option(metavar="S", min=0, max=2**32 - 1, help="One seed; repeat for several.")
    ] = field(default_factory=list)
    matrix: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="TOML file with the cells to run; --dataset and --protocol select from it."
        ),
    ] = None
    set_: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="name=value of a method's option, or recipe.name=value; repeat for several.",
        ),
    ] = field(default_factory=list)
    values: Annotated[
        str,
        typer.Option(metavar="SET", help="Hyper-parameters: paper, or small, chosen for small data."),
    ] = "paper"
    tuned: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Add each method with the values that `pmbench tune --out DIR` chose."
        ),
    ] = None
    ablate: Annotated[
        bool,
        typer.Option("--ablate", help="Add the rows of the papers' ablation tables."),
    ] = False
    placebo: Annotated[
        list[str],
        typer.Option(
            "--placebo",
            metavar="KIND",
            help="Add each method trained with shuffled (shuffle) or random (noise) privileged data.",
        ),
    ] = field(default_factory=list)
    matched_compute: Annotated[
        bool, typer.Option("--matched-compute", help="Add the floor, trained for as many steps as a method.")
    ] = False
    references: Annotated[bool, typer.Option(help="Add floor, ceilings and control.")] = True
    store: StoreOption = None
    shared_store: SharedStoreOption = None
    data: DataOption = None
    json_: JsonOption = False

    def requests(self, registry: Registry) -> list[Request]:
        """A request, or one for each run of the matrix file.

        Data sets and protocols that the file names select its runs. All other options replace its fields.
        """
        runs = _read(self.matrix) if self.matrix else [{}]
        runs = _selected(_selected(runs, "datasets", self.dataset), "protocols", self.protocol)
        return list(dict.fromkeys(self._request(run, registry) for run in runs))

    def _request(self, matrix: Mapping[str, Any], registry: Registry) -> Request:
        from ..run.request import Request, joined
        from ..run.tuning.tuned import complete

        methods = split_names(self.method) or tuple(matrix.get("methods", ()))
        if not methods and self.tuned is None:
            raise UsageError(
                "no method to run", "give --method NAME (`pmbench list methods`) or --matrix FILE"
            )
        request = Request(
            methods=methods,
            datasets=tuple(matrix.get("datasets", ())),
            protocols=tuple(matrix.get("protocols", ())),
            backbones=joined(split_names(self.backbone)) or tuple(matrix.get("backbones", ())),
            seeds=self._seeds(matrix.get("seeds")),
            sets=(*(f"{k}={v}" for k, v in matrix.get("set", {}).items()), *self.set_),
            references=self.references,
            recipe=self.recipe or matrix.get("recipe", ""),
            weights=self.weights or matrix.get("weights", ""),
            ablate=self.ablate,
            value_set=self.values,
            placebos=split_names(self.placebo) or tuple(matrix.get("placebo", ())),
            matched_compute=self.matched_compute or matrix.get("matched_compute", False),
        )
        return complete(request, self.tuned, registry)

    def _seeds(self, matrix: int | list[int] | None) -> tuple[int, ...]:
        if self.seeds is not None and self.seed:
            raise UsageError(
                "--seeds and --seed were both given", "--seeds N for seeds 0 to N-1, or --seed S for one"
            )
        if self.seed:
            return tuple(dict.fromkeys(self.seed))
        if self.seeds is None and isinstance(matrix, list):
            return tuple(dict.fromkeys(matrix)) or (0, 1, 2)
        return tuple(range(self.seeds or matrix or 3))  # type: ignore[arg-type]


def _read(path: Path) -> list[dict[str, Any]]:
    """The fields of each run of a matrix file: those at its top, which the `[[runs]]` change, if any."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"matrix {path} cannot be read: {error.strerror}", "give the TOML file of a matrix with --matrix"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(
            f"matrix {path} is not TOML: {error}", "benchmarks/matrices has examples of such files"
        ) from error
    runs = content.pop("runs", [{}])
    if not (isinstance(runs, list) and runs and all(isinstance(run, dict) for run in runs)):
        raise UsageError(f"matrix {path}: runs is {runs!r}; expected tables, each headed [[runs]]")
    for fields_ in (content, *runs):
        _check(path, fields_)
    return [content | run for run in runs]


def _selected(runs: list[dict[str, Any]], name: str, words: list[str]) -> list[dict[str, Any]]:
    """The runs cut to the wanted names, without those that list none of them.

    If no run lists some name, all wanted names replace those of every run.
    """
    wanted = split_names(words)
    if not wanted:
        return runs
    if not set(wanted) <= {value for run in runs for value in run.get(name, ())}:
        return [run | {name: list(wanted)} for run in runs]
    found = [run | {name: [value for value in run.get(name, ()) if value in wanted]} for run in runs]
    return [run for run in found if run[name]]


def _check(path: Path, content: Mapping[str, Any]) -> None:
    for name, value in content.items():
        if name not in _MATRIX:
            raise UnknownName(f"field of matrix {path}", name, (*_MATRIX, "runs"))
        if name in ("weights", "recipe") and not isinstance(value, str):
            raise UsageError(f"matrix {path}: {name} is {value!r}; expected a string, as for --{name}")
        if name == "matched_compute" and not isinstance(value, bool):
            raise UsageError(f"matrix {path}: {name} is {value!r}; expected true or false")
        if name in _LISTS and not (isinstance(value, list) and all(isinstance(v, str) for v in value)):
            raise UsageError(f"matrix {path}: {name} is {value!r}; expected a list of names")
