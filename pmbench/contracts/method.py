"""A method: a function from a setting to its last stage."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import ContractError, UnknownName, UsageError
from .setting import Setting
from .stage import Stage

Role = Literal["method", "floor", "ceiling", "control", "reference"]
TestsOn = Literal["target", "privileged", "all"]
VALUE_SETS = ("paper", "small")
"""Hyper-parameters as the paper has them, or as chosen for small data."""
ROLES: tuple[Role, ...] = typing.get_args(Role)
TESTS_ON: tuple[TestsOn, ...] = typing.get_args(TestsOn)


@dataclass(frozen=True)
class Option:
    """A hyper-parameter of a method that `--set name=value` can change."""

    name: str
    type: Any
    default: Any


@dataclass(frozen=True)
class Ablation:
    """A row of a paper's ablation tables: the method with some options changed.

    `printed` is (paper, table, variant) of the paper's number in `pmbench_published`; empty for a row that no
    paper has.
    """

    options: Mapping[str, Any] = field(hash=False)
    printed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Method:
    """A named way to learn with privileged modalities.

    `tests_on` is what the delivered network is given at test: "target" for every real method; "privileged"
    and "all" mark reference rows. `networks` counts the networks that run at test: a method with two is
    compared with `target_ensemble` too. `exceptions` maps the name of a contract check that cannot hold for
    this method to the reason. `deviations` lists where it departs from its paper. `ablations` are the rows of
    the paper's ablation tables, by name. `small` holds the options that differ in the values for small data,
    chosen on validation data; empty where no search found better ones than the paper's.
    """

    name: str
    plan: Callable[..., Stage] = field(repr=False)
    summary: str
    paper: str
    role: Role = "method"
    tests_on: TestsOn = "target"
    networks: int = 1
    deviations: tuple[str, ...] = ()
    exceptions: Mapping[str, str] = field(default_factory=dict, hash=False)
    ablations: Mapping[str, Ablation] = field(default_factory=dict, hash=False)
    small: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def values(self, value_set: str) -> Mapping[str, Any]:
        """Options of the set "paper", which are none, or "small"."""
        return self.small if value_set == "small" else {}

    def options(self) -> dict[str, Option]:
        """Keyword parameters of the plan function, each with its default."""
        hints = typing.get_type_hints(self.plan)
        parameters = list(inspect.signature(self.plan).parameters.values())[1:]
        return {p.name: Option(p.name, hints.get(p.name, str), p.default) for p in parameters}

    def last_stage(self, setting: Setting, **options: Any) -> Stage:
        """The stage whose delivery is evaluated; raises Unsupported where the setting does not allow the
        method.
        """
        known = self.options()
        for name, value in options.items():
            if name not in known:
                raise UnknownName(f"option of method {self.name!r}", name, known)
            kind = known[name].type
            if typing.get_origin(kind) is typing.Literal and value not in typing.get_args(kind):
                choices = ", ".join(map(str, typing.get_args(kind)))
                raise UsageError(
                    f"option {name!r} of method {self.name!r} is {value!r}; expected one of {choices}"
                )
        stage = self.plan(setting, **options)
        if not isinstance(stage, Stage):
            raise ContractError(
                f"method {self.name!r} returned {type(stage).__name__} where its last stage was expected"
            )
        return stage

    def test_modalities(self, setting: Setting) -> tuple[str, ...]:
        """What the sealed program of this method takes, in order."""
        return {"target": setting.target, "privileged": setting.privileged, "all": setting.all}[self.tests_on]


def method(
    name: str,
    *,
    paper: str,
    role: Role = "method",
    tests_on: TestsOn = "target",
    networks: int = 1,
    deviations: tuple[str, ...] = (),
    exceptions: Mapping[str, str] | None = None,
    ablations: Mapping[str, Ablation] | None = None,
    small: Mapping[str, Any] | None = None,
) -> Callable[[Callable[..., Stage]], Method]:
    """Makes a method of a function `(setting, *, option=default, ...) -> Stage`.

    `paper` is an arXiv id, a DOI, or a citation in words. The first line of the docstring is shown by
    `pmbench list`.
    """
    if role not in ROLES or tests_on not in TESTS_ON:
        raise ContractError(
            f"method {name!r} has role {role!r} and tests_on {tests_on!r}; "
            f"roles are {', '.join(ROLES)}, and it can test on {', '.join(TESTS_ON)}"
        )

    def make(plan: Callable[..., Stage]) -> Method:
        for parameter in list(inspect.signature(plan).parameters.values())[1:]:
            if parameter.default is inspect.Parameter.empty:
                raise ContractError(f"option {parameter.name!r} of method {name!r} has no default")
        summary = (inspect.getdoc(plan) or "").partition("\n")[0]
        made = Method(
            name,
            plan,
            summary,
            paper,
            role,
            tests_on,
            networks,
            tuple(deviations),
            dict(exceptions or {}),
            dict(ablations or {}),
            dict(small or {}),
        )
        sets = {f"ablation {row!r}": ablation.options for row, ablation in made.ablations.items()}
        for what, options in {**sets, "the set `small`": made.small}.items():
            if strange := set(options) - set(made.options()):
                raise ContractError(
                    f"{what} of method {name!r} sets {sorted(strange)}, which are no options; "
                    f"its options: {', '.join(made.options())}"
                )
        for row, ablation in made.ablations.items():
            if len(ablation.printed) not in (0, 3):
                raise ContractError(
                    f"ablation {row!r} of method {name!r} is printed in {ablation.printed!r}; "
                    "expected (paper, table, variant), or nothing"
                )
        return made

    return make


def parse_value(text: str, kind: Any, name: str) -> Any:
    """`text` as the type of an option: bool, int, float, str, a Literal, a tuple of them, or None where
    allowed.
    """
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
            raise UsageError(
                f"{name}={text}: expected {'a whole number' if kind is int else 'a number'}"
            ) from None
    return text
