"""Methods: functions from a setting to the last stage."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import ContractError, UnknownName, UsageError
from .options import Option, Options, option, parse_value
from .search import Search, Space, space_of
from .setting import Setting
from .stage import Stage

Role = Literal["method", "floor", "ceiling", "control", "reference"]
TestsOn = Literal["target", "privileged", "all"]
OWN = "own"
"""The teacher of a method that no reference row equals."""
VALUE_SETS = ("paper", "small")
"""Hyper-parameters of the paper, or selected for small data."""
ROLES: tuple[Role, ...] = typing.get_args(Role)
TESTS_ON: tuple[TestsOn, ...] = typing.get_args(TestsOn)


@dataclass(frozen=True)
class Ablation:
    """A row of a paper's ablation tables: the method with some options changed.

    `printed` is (paper, table, variant) of the paper's number in `pmbench_published`; empty without one.
    """

    options: Mapping[str, Any] = field(hash=False)
    printed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Delivery:
    """A network that a method tests in place of its own where its options have the values `when`.

    It is tested on the modalities `tests_on`, as in `Method`, and has `networks` networks. With more than the
    target modalities it is a reference row: the network is given the privileged modality at test.
    """

    when: Mapping[str, Any] = field(hash=False)
    tests_on: TestsOn = "target"
    networks: int = 1


@dataclass(frozen=True)
class Method:
    """A method for learning with privileged modalities; made by the decorator `pm.method`.

    `plan(setting)`, or `plan(setting, options)` with options of class `options_type`, returns the last stage.
    `summary` is one line for lists. `role` is "method", or what a reference row is for. `tests_on` selects
    the modalities available at test: "target" for methods, "privileged" or "all" for reference rows.
    `networks` counts the networks that run at test; methods with two are also compared with
    `target_ensemble`. `exceptions` maps contract checks that cannot hold to the reason. `deviations` lists
    departures from the paper. `ablations` are the rows of the paper's ablation tables by name. `small` holds
    the options that differ in the value set for small data, selected on validation data. `teachers` are the
    teachers that it allows: values of its option `teacher`, whose default is the paper's choice, each with
    the reference row that is this network (`privileged_only`, `early_fusion` ...), or "own"; a method with
    one teacher has it under "", one without has none. `search` maps options to the values that `pmbench tune`
    may try: an interval, "[0, 1]" or "log [0.1, 100]", or a tuple of values. `deliveries` are other networks
    that its options can have tested.
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
    teachers: Mapping[str, str] = field(default_factory=dict, hash=False)
    search: Mapping[str, Search] = field(default_factory=dict, hash=False)
    deliveries: tuple[Delivery, ...] = ()
    options_type: type[Options] = Options

    def values(self, value_set: str) -> Mapping[str, Any]:
        """Options of the value set "small"; empty for "paper", which holds the defaults."""
        return self.small if value_set == "small" else {}

    def options(self) -> Mapping[str, Option]:
        """The declared options by name."""
        return self.options_type.declared()

    def spaces(self) -> dict[str, Space]:
        """The search space of each option that has one; raises ContractError for a malformed one."""
        return {name: space_of(search, self.options()[name]) for name, search in self.search.items()}

    def teacher(self, options: Mapping[str, Any]) -> str | None:
        """The reference row that is the teacher under these options, "own", or None without a teacher."""
        declared = self.options().get("teacher")
        if "" in self.teachers or declared is None:
            return self.teachers.get("")
        return self.teachers.get(options.get("teacher", declared.default))

    def delivering(self, options: Mapping[str, Any]) -> Method:
        """The method as it is tested under these options; itself, if no delivery is for them."""
        values = {name: o.default for name, o in self.options().items()} | dict(options)
        for delivery in self.deliveries:
            if all(values[name] == value for name, value in delivery.when.items()):
                role: Role = self.role if delivery.tests_on == "target" else "reference"
                tests_on, networks = delivery.tests_on, delivery.networks
                return dataclasses.replace(self, role=role, tests_on=tests_on, networks=networks)
        return self

    def parse(self, texts: Mapping[str, str]) -> dict[str, Any]:
        """Values of options from texts; raises UnknownName or UsageError."""
        for name in texts:
            if name not in self.options():
                raise UnknownName(f"option of method {self.name!r}", name, self.options())
        return {name: parse_value(text, self.options()[name].type, name) for name, text in texts.items()}

    def but(self, **options: Any) -> Method:
        """The method with other defaults, as they have it tested; raises UsageError for invalid ones."""
        try:
            self.options_type(**options)
        except UsageError as error:
            raise UsageError(f"method {self.name!r}: {error.message}", error.hint) from error
        known = self.options()
        fields = [
            (n, known[n].type, option(v, known[n].help, within=known[n].within)) for n, v in options.items()
        ]
        kind = dataclasses.make_dataclass("Options", fields, bases=(self.options_type,), frozen=True)
        return dataclasses.replace(self, options_type=kind).delivering({})

    def last_stage(self, setting: Setting, **options: Any) -> Stage:
        """The stage whose artifact is evaluated.

        Raises Unsupported for unsupported settings, UsageError for unknown or invalid options, ContractError
        if the plan returns no stage.
        """
        for name in options:
            if name not in self.options():
                raise UnknownName(f"option of method {self.name!r}", name, self.options())
        try:
            given = (self.options_type(**options),) if self.options() else ()
        except UsageError as error:
            raise UsageError(f"method {self.name!r}: {error.message}", error.hint) from error
        stage = self.plan(setting, *given)
        if not isinstance(stage, Stage):
            raise ContractError(
                f"method {self.name!r} returned {type(stage).__name__} where its last stage was expected"
            )
        return stage

    def test_modalities(self, setting: Setting) -> tuple[str, ...]:
        """Input modalities of the sealed program, in order."""
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
    teachers: str | Mapping[str, str] = "",
    search: Mapping[str, Search] | None = None,
    deliveries: tuple[Delivery, ...] = (),
) -> Callable[[Callable[..., Stage]], Method]:
    """Decorator: turns a plan `(setting) -> Stage` or `(setting, options) -> Stage` into a `pm.Method`.

    The annotation of `options` is a subclass of `pm.Options`. `teachers` is one teacher, or one for each
    value of the option `teacher`; neither it nor `search` or `deliveries` enters a key. `paper` is an arXiv
    id, a DOI, or a citation. The first line of the plan's docstring is the summary. Raises ContractError for
    invalid declarations.
    """
    if role not in ROLES or tests_on not in TESTS_ON:
        raise ContractError(
            f"method {name!r} has role {role!r} and tests_on {tests_on!r}; "
            f"roles are {', '.join(ROLES)}, and it can test on {', '.join(TESTS_ON)}"
        )

    def make(plan: Callable[..., Stage]) -> Method:
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
            dict(teachers) if isinstance(teachers, Mapping) else {"": teachers} if teachers else {},
            dict(search or {}),
            tuple(deliveries),
            _options_type(name, plan),
        )
        sets = {f"ablation {row!r}": ablation.options for row, ablation in made.ablations.items()}
        sets |= {f"delivery {dict(one.when)}": one.when for one in made.deliveries}
        for what, options in {**sets, "the set `small`": made.small, "the search": made.search}.items():
            if unknown := set(options) - set(made.options()):
                raise ContractError(
                    f"{what} of method {name!r} sets unknown options {sorted(unknown)}; "
                    f"its options: {', '.join(made.options())}"
                )
        if wrong := [one for one in made.deliveries if one.tests_on not in TESTS_ON or not one.when]:
            raise ContractError(
                f"method {name!r} delivers {wrong[0]}; expected options and their values, and tests_on one "
                f"of {', '.join(TESTS_ON)}"
            )
        made.spaces()  # raises for a malformed one
        choices = made.options()["teacher"].choices if "teacher" in made.options() else ()
        if "" not in made.teachers and set(made.teachers) != set(choices if made.teachers else ()):
            raise ContractError(
                f"method {name!r} declares the teachers {', '.join(made.teachers)}, but its option `teacher` "
                f"takes {', '.join(map(str, choices)) or 'nothing: there is no such option'}",
                "declare each value of the option, or one teacher as a string",
            )
        for row, ablation in made.ablations.items():
            if len(ablation.printed) not in (0, 3):
                raise ContractError(
                    f"ablation {row!r} of method {name!r} is printed in {ablation.printed!r}; "
                    "expected (paper, table, variant), or nothing"
                )
        return made

    return make


def _options_type(name: str, plan: Callable[..., Stage]) -> type[Options]:
    """The class of the plan's second parameter; Options without one."""
    parameters = list(inspect.signature(plan).parameters.values())
    if any(p.kind not in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters):
        parameters = []
    kind: Any = typing.get_type_hints(plan).get(parameters[1].name) if len(parameters) == 2 else Options
    if len(parameters) not in (1, 2) or not (isinstance(kind, type) and issubclass(kind, Options)):
        raise ContractError(
            f"the plan function of method {name!r} takes {inspect.signature(plan)}; expected (setting), or "
            "(setting, options: a subclass of pm.Options)",
            "declare hyper-parameters as fields of one frozen dataclass, each made by pm.option",
        )
    return kind
