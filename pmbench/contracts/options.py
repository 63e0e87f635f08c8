"""Options: the hyper-parameters of a method, declared once in a frozen dataclass."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ..errors import ContractError, UsageError

T = TypeVar("T")
O = TypeVar("O", bound="Options")  # noqa: E741


def option(default: T, help: str, *, within: str = "") -> T:
    """A field of `Options`: its default, a line of help, and for a number the interval that it must lie in.

    Intervals are written "[0, 1]", "(0, inf)" ...; a square bracket includes its end.
    """
    return dataclasses.field(default=default, metadata={"help": help, "within": within})


@dataclass(frozen=True)
class Option:
    """A declared option: `type` is its annotation; `--set name=value` changes it."""

    name: str
    type: Any
    default: Any
    help: str = ""
    within: str = ""

    @property
    def choices(self) -> tuple[Any, ...]:
        """The values of a Literal, and of a bool; empty for other types."""
        if self.type is bool:
            return (False, True)
        return typing.get_args(self.type) if typing.get_origin(self.type) is typing.Literal else ()

    def check(self, value: Any) -> None:
        """Raises UsageError for a value that is no choice, or outside the interval."""
        if typing.get_origin(self.type) is typing.Literal and value not in self.choices:
            raise UsageError(
                f"option {self.name!r} is {value!r}; expected one of {', '.join(map(str, self.choices))}"
            )
        if self.within and value is not None and not _lies_in(value, self.within):
            raise UsageError(f"option {self.name!r} is {value}; expected a number in {self.within}")


@dataclass(frozen=True)
class Options:
    """Base of the options of methods and stages: a frozen dataclass whose fields are made by `option`.

    A stage that uses some of a method's options declares a field of the class that holds just those; the
    method's class inherits from it. Only the declared ones enter the stage and its key, so that methods share
    stages whose options agree, whatever their other options are. Raises UsageError for values out of range.
    """

    def __post_init__(self) -> None:
        for name, one in self.declared().items():
            one.check(getattr(self, name))

    @classmethod
    def declared(cls) -> Mapping[str, Option]:
        """The options by name, in the order of their declaration."""
        return _declared(cls)  # type: ignore[arg-type]

    def but(self: O, **changes: Any) -> O:
        """These options with some changed."""
        return dataclasses.replace(self, **changes)

    def only(self, kind: type[O]) -> O:
        """The part of these options that `kind`, a base of their class, declares."""
        if not isinstance(self, kind):
            raise ContractError(
                f"a stage takes {kind.__name__}, but was given {type(self).__name__}",
                f"let {type(self).__name__} inherit from {kind.__name__}",
            )
        return kind(**{name: getattr(self, name) for name in kind.declared()})


@functools.cache
def _declared(cls: type) -> Mapping[str, Option]:
    hints = typing.get_type_hints(cls)
    found = {}
    for field in dataclasses.fields(cls):
        if "help" not in field.metadata:
            raise ContractError(
                f"{cls.__name__}.{field.name} is not declared by pm.option",
                f"write `{field.name}: type = pm.option(default, 'one line of help')`",
            )
        metadata = field.metadata
        found[field.name] = Option(
            field.name, hints[field.name], field.default, metadata["help"], metadata["within"]
        )
    return types.MappingProxyType(found)


def _lies_in(value: float, interval: str) -> bool:
    low, high = map(float, interval[1:-1].split(","))
    above = value >= low if interval[0] == "[" else value > low
    below = value <= high if interval[-1] == "]" else value < high
    return above and below


def parse_value(text: str, kind: Any, name: str) -> Any:
    """`text` as the type of an option: bool, int, float, str, a Literal, a tuple, or None where allowed."""
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        kinds = typing.get_args(kind)
        if type(None) in kinds and text.lower() == "none":
            return None
        kind = next(k for k in kinds if k is not type(None))
    if typing.get_origin(kind) is typing.Literal:
        choices = {str(choice): choice for choice in typing.get_args(kind)}
        if text not in choices:
            raise UsageError(f"{name}={text}: expected one of {', '.join(choices)}")
        return choices[text]
    if typing.get_origin(kind) is tuple:
        inner = typing.get_args(kind)[0]
        return tuple(parse_value(part, inner, name) for part in text.split("+")) if text else ()
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise UsageError(f"{name}={text}: expected true or false")
        return text.lower() == "true"
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            whole = "a whole number" if kind is int else "a number"
            raise UsageError(f"{name}={text}: expected {whole}") from None
    return text
