"""Options: the hyper-parameters of a method, declared once in a frozen dataclass."""

from __future__ import annotations

import dataclasses
import functools
import re
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ..errors import ContractError, UsageError

T = TypeVar("T")
O = TypeVar("O", bound="Options")  # noqa: E741


def option(default: T, help: str, *, within: str = "") -> T:
    """A field of `pm.Options`.

    `help` is one line for the user. `within`, for numbers, is the interval of valid values: "[0, 1]",
    "(0, inf)"; a square bracket includes the bound.
    """
    return dataclasses.field(default=default, metadata={"help": help, "within": within})


@dataclass(frozen=True)
class Option:
    """A declared option. `type` is its annotation; `--set name=value` changes its value."""

    name: str
    type: Any
    default: Any
    help: str = ""
    within: str = ""

    @property
    def choices(self) -> tuple[Any, ...]:
        """Valid values of a Literal or a bool, with None where the type allows it; empty for other types."""
        kind, optional = without_none(self.type)
        literal = typing.get_origin(kind) is typing.Literal
        values = (False, True) if kind is bool else typing.get_args(kind) if literal else ()
        return (*values, None) if values and optional else values

    def check(self, value: Any) -> None:
        """Raises UsageError for a value that is not among `choices` or outside the interval `within`."""
        if self.choices and not any(value == c and type(value) is type(c) for c in self.choices):
            choices = ", ".join(map(str, self.choices))
            raise UsageError(f"option {self.name!r} is {value!r}; expected one of {choices}")
        if self.within and value is not None and not _lies_in(value, self.within):
            raise UsageError(f"option {self.name!r} is {value}; expected a number in {self.within}")


@dataclass(frozen=True)
class Options:
    """Base class of the hyper-parameters of methods and stages: a frozen dataclass of `pm.option` fields.

    A stage declares a field whose class holds the options that it uses; the options class of the method
    inherits from that class. Only these options enter the stage and its key, so methods whose options agree
    there share the stage. Raises UsageError for invalid values.
    """

    def __post_init__(self) -> None:
        for name, one in self.declared().items():
            one.check(getattr(self, name))

    @classmethod
    def declared(cls) -> Mapping[str, Option]:
        """Declared options by name, in order of declaration."""
        return _declared(cls)  # type: ignore[arg-type]

    def but(self: O, **changes: Any) -> O:
        """A copy with `changes` applied."""
        return dataclasses.replace(self, **changes)

    def only(self, kind: type[O]) -> O:
        """The options that `kind`, a base of this class, declares; raises ContractError for other classes."""
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


def without_none(kind: Any) -> tuple[Any, bool]:
    """(type, whether None is valid too) of `type` or `type | None`."""
    if typing.get_origin(kind) not in (types.UnionType, typing.Union):
        return kind, False
    kinds = typing.get_args(kind)
    return next(k for k in kinds if k is not type(None)), type(None) in kinds


def split_names(values: Iterable[str]) -> tuple[str, ...]:
    """Unique names of repeated and comma-separated values, in order; commas in [ ] belong to a name."""
    parts = [part.strip() for value in values for part in re.split(r",(?![^\[]*\])", value)]
    return tuple(dict.fromkeys(p for p in parts if p))


def split_variant(text: str) -> tuple[str, dict[str, str]]:
    """Name and options of a variant: `kd[teacher=privileged,temperature=2]`, or `kd` without options.

    Raises UsageError for text of another form.
    """
    found = re.fullmatch(r"([^\[\]]+)(?:\[([^\[\]]*)\])?", text)
    options = {}
    for part in (found[2] or "").split(",") if found and found[2] is not None else ():
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            found = None
            break
        options[name.strip()] = value.strip()
    if found is None:
        raise UsageError(f"{text!r} names no method", "a variant is written name[option=value,option=value]")
    return found[1].strip(), options


def parse_value(text: str, kind: Any, name: str) -> Any:
    """`text` as a value of type `kind`: bool, int, float, str, Literal, tuple ("+" separates), `... | None`.

    Raises UsageError for text that does not parse.
    """
    kind, optional = without_none(kind)
    if optional and text.lower() == "none":
        return None
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
