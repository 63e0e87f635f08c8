"""Stages as plain values, which other processes receive as JSON."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..contracts.options import Options
from ..contracts.recipe import Recipe
from ..contracts.stage import Stage
from ..errors import ContractError


@dataclass(frozen=True)
class StageDocument:
    """A stage as plain values, in a list with its ancestors.

    `name` is the name of its class, "module:Class", and `modules` those of its class and bases. A value in
    `fields` is plain, a list, `{"options": "module:Class", "fields": ...}`, or `{"stage": n}` for the stage
    at position n of the list. `reads`, `trains`, `recipe` and `backbones` are what the stage declares.
    """

    name: str
    modules: tuple[str, ...]
    fields: Mapping[str, Any]
    reads: tuple[str, ...]
    trains: bool
    recipe: Recipe
    backbones: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """Name of the class without its module."""
        return self.name.partition(":")[2]

    @property
    def name_in_keys(self) -> str:
        """Top-level package and class, so that a stage can move between modules."""
        return f"{self.name.partition(':')[0].partition('.')[0]}:{self.kind}"

    @property
    def parents(self) -> list[int]:
        """Positions of the stages among the fields, in order."""
        return list(_parents(list(self.fields.values())))

    @property
    def label(self) -> str:
        """Class, modalities and replica, for people."""
        replica = f", replica {self.fields['replica']}" if self.fields.get("replica") else ""
        return f"{self.kind}({', '.join(self.reads)}{replica})"


def recipe_of(stage: Stage, standard: Recipe) -> Recipe:
    """The recipe that a stage is trained by; one that does not train has no epochs."""
    recipe = stage.recipe(standard)
    return recipe if stage.trains else recipe.but(epochs=0)


def write_stages(last: Stage, standard: Recipe) -> list[StageDocument]:
    """Documents of a stage and its ancestors, parents first, under the `standard` recipe.

    Raises ContractError for fields other than plain values, tuples, options and stages.
    """
    walk = list(last.walk())
    places = {stage: place for place, stage in enumerate(walk)}
    return [
        StageDocument(
            name=_name(type(stage)),
            modules=tuple(
                dict.fromkeys(
                    c.__module__ for c in type(stage).__mro__ if issubclass(c, Stage) and c is not Stage
                )
            ),
            fields=_fields(stage, places),
            reads=tuple(stage.reads),
            trains=bool(stage.trains),
            recipe=recipe_of(stage, standard),
            backbones=tuple(stage.backbones),
        )
        for stage in walk
    ]


def read_stages(documents: Sequence[StageDocument]) -> list[Stage]:
    """The stages of a list of documents; imports the modules of their classes.

    Raises ContractError unless the documents name subclasses of Stage and fields that they have.
    """
    made: list[Stage] = []
    for document in documents:
        kind = _find(document.name, Stage)
        made.append(kind(**{name: _read(value, made) for name, value in document.fields.items()}))
    return made


def part_of(documents: Sequence[StageDocument], place: int) -> list[StageDocument]:
    """The documents of the stage at `place` and of its ancestors alone."""
    needed: set[int] = set()
    waiting = [place]
    while waiting:
        one = waiting.pop()
        if one not in needed:
            needed.add(one)
            waiting += documents[one].parents
    places = {old: new for new, old in enumerate(sorted(needed))}
    return [
        dataclasses.replace(
            documents[old], fields={n: _moved(v, places) for n, v in documents[old].fields.items()}
        )
        for old in sorted(needed)
    ]


def _parents(values: Sequence[Any]) -> list[int]:
    found: list[int] = []
    for value in values:
        if isinstance(value, dict):
            found += [value["stage"]] if "stage" in value else []
        elif isinstance(value, list):
            found += _parents(value)
    return found


def _moved(value: Any, places: Mapping[int, int]) -> Any:
    if isinstance(value, dict):
        return {"stage": places[value["stage"]]} if "stage" in value else value
    return [_moved(inner, places) for inner in value] if isinstance(value, list) else value


def _fields(value: Any, places: Mapping[Stage, int]) -> dict[str, Any]:
    return {f.name: _write(getattr(value, f.name), places) for f in dataclasses.fields(value)}


def _write(value: Any, places: Mapping[Stage, int]) -> Any:
    if isinstance(value, Stage):
        return {"stage": places[value]}
    if isinstance(value, Options):
        return {"options": _name(type(value)), "fields": _fields(value, places)}
    if isinstance(value, tuple):
        return [_write(one, places) for one in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ContractError(
        f"a field of a stage is {value!r}; expected a plain value, a tuple, options or a stage, which can be "
        "part of a key"
    )


def _read(value: Any, made: Sequence[Stage]) -> Any:
    if isinstance(value, dict):
        if "stage" in value:
            return made[value["stage"]]
        kind = _find(value["options"], Options)
        return kind(**{name: _read(inner, made) for name, inner in value["fields"].items()})
    return tuple(_read(inner, made) for inner in value) if isinstance(value, list) else value


def _name(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _find(name: str, expected: type) -> Any:
    module, _, path = name.partition(":")
    if "<locals>" in path:
        raise ContractError(
            f"class {path} of module {module} is defined inside a function",
            "define stages at the top level of a module, so that other processes can import them",
        )
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    if not (isinstance(found, type) and issubclass(found, expected)):
        raise ContractError(f"{name} is no class of stages or options")
    return found
