"""Requests: what to run, by names, and the methods and options that it means."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ..contracts.method import VALUE_SETS, Method
from ..contracts.options import parse_value, split_variant
from ..contracts.recipe import NO_SETUP, Recipe, Setup
from ..errors import UnknownName, UsageError
from ..plugins import Registry
from ..report.cell import TuningStudy
from ..report.rows import ENSEMBLE, FLOOR, GIVEN

DEFAULT_DATASET = "hapt"
"""Data set of a run without --dataset."""
REFERENCES = (FLOOR, *GIVEN, "self_distill")
"""Floor, candidates for the ceiling, and control, added to every run."""
Placebo = Literal["shuffle", "noise"]
PLACEBOS: tuple[Placebo, ...] = typing.get_args(Placebo)
"""What may take the place of the privileged modalities in training."""


@dataclass(frozen=True)
class Tuned:
    """The options that a study chose for a method with some options given, `kd[teacher=privileged]`."""

    method: str
    given: Mapping[str, Any]
    options: Mapping[str, Any]
    study: TuningStudy


@dataclass(frozen=True)
class Request:
    """What to run, by names. Empty `protocols`, `backbones` and `recipe` mean the data set's default.

    `methods` may name variants: `kd[teacher=privileged]`. `tuned` are options that a study chose: each of
    these methods has a row with them, beside its own.
    """

    methods: tuple[str, ...]
    datasets: tuple[str, ...]
    protocols: tuple[str, ...] = ()
    backbones: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2)
    sets: tuple[str, ...] = ()
    references: bool = True
    recipe: str = ""
    weights: str = ""
    ablate: bool = False
    value_set: str = "paper"
    placebos: tuple[str, ...] = ()
    matched_compute: bool = False
    tuned: tuple[Tuned, ...] = field(default=(), hash=False)


def joined(values: tuple[str, ...]) -> tuple[str, ...]:
    """Backbones of one comparison as one value: `a=x`, `b=y` belong together until a modality comes again."""
    found: list[str] = []
    for value in values:
        modalities = {part.partition("=")[0] for part in value.split("+")}
        before = {part.partition("=")[0] for part in found[-1].split("+")} if found else set()
        if "=" in value and found and "=" in found[-1] and not modalities & before:
            found[-1] += f"+{value}"
        else:
            found.append(value)
    return tuple(found)


def expanded(request: Request, registry: Registry) -> Request:
    """The request with all names in place of `all`; variants may stand beside it."""
    methods, datasets = request.methods, request.datasets
    if "all" in methods:
        methods = (*registry.names("method"), *(m for m in methods if m != "all"))
    if "all" in datasets:
        datasets = tuple(registry.names("dataset"))
    return replace(request, methods=methods, datasets=datasets)


@dataclass(frozen=True)
class Variant:
    """A method with options, as they have it tested. `ablation` names a row of its ablations, or is empty.

    `of` has the options of the method that an ablation changes; `value_set` is the requested set of values.
    `placebo` takes the place of the privileged modalities in training; `matched` marks a floor that is
    trained for as many steps as all stages of a method. `study` chose the options.
    """

    method: Method
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    value_set: str = "paper"
    ablation: str = ""
    of: Mapping[str, Any] = field(default_factory=dict, hash=False)
    placebo: Placebo | Literal[""] = ""
    matched: bool = False
    study: TuningStudy | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "method", self.method.delivering(self.options))

    @property
    def values(self) -> str:
        """The set of values in use: the paper's if the method declares no other."""
        return self.value_set if self.method.values(self.value_set) else "paper"

    @property
    def identity(self) -> dict[str, Any]:
        """Fields besides the options that distinguish variants of a method."""
        named: dict[str, Any] = {"ablation": self.ablation, "of": dict(self.of)} if self.ablation else {}
        named |= {"placebo": self.placebo} if self.placebo else {}
        named |= {"matched": True} if self.matched else {}
        named |= {"study": self.study.digest} if self.study else {}
        return named | ({"value_set": self.value_set} if self.value_set != "paper" else {})


def variants_of(
    request: Request, registry: Registry, setup: Setup = NO_SETUP
) -> tuple[list[Variant], dict[str, Any]]:
    """(methods of the request, each followed by its placebos and ablations; changed fields of the recipe).

    Options of `setup`, values of the requested set, `--set`, the options in the name of a variant, those of
    an ablation: each overrides what stands before it.
    """
    if request.value_set not in VALUE_SETS:
        raise UsageError(f"--values {request.value_set}: expected {' or '.join(VALUE_SETS)}")
    asked = [_variant(text, registry) for text in request.methods]
    chosen = list({method.name: method for method, _ in asked}.values())
    if request.ablate and not any(m.ablations for m in chosen):
        have = sorted(name for name in registry.names("method") if _ablations(registry, name))
        raise UsageError(
            f"--ablate: {', '.join(request.methods)} declare{'s' if len(chosen) == 1 else ''} no ablations",
            f"methods that do: {', '.join(have)}",
        )
    _check_placebos(request, chosen)
    by_method, recipe = parse_sets(request.sets, chosen)
    variants: list[Variant] = []
    for method, own in [*asked, *_references(request, chosen, asked, registry)]:
        options = {**_of_setup(method, setup), **method.values(request.value_set)}
        options |= by_method.get(method.name, {})
        options |= {n: v for n, v in own.items() if v != options.get(n, method.options()[n].default)}
        same = (v for v in variants if v.method.name == method.name and v.options == options)
        if any(not (v.ablation or v.study) for v in same):
            continue
        variants.append(Variant(method, options, request.value_set))
        if (method, own) in asked and variants[-1].method.role == "method":
            variants += [
                Variant(method, options, request.value_set, placebo=p)
                for p in PLACEBOS
                if p in request.placebos
            ]
        variants += [
            Variant(method, one.options, request.value_set, study=one.study)
            for one in request.tuned
            if (method, own) in asked and (one.method, one.given) == (method.name, own)
        ]
        if request.ablate and (method, own) in asked:
            variants += [
                Variant(method, {**options, **ablation.options}, request.value_set, row, options)
                for row, ablation in method.ablations.items()
            ]
    return variants, recipe


def _of_setup(method: Method, setup: Setup) -> dict[str, Any]:
    """Options that the setup gives to a method, without those that are its defaults."""
    options = setup.options.get(method.name, {})
    for name in options:
        if name not in method.options():
            raise UnknownName(
                f"option of method {method.name!r}, which the recipe names", name, method.options()
            )
    return {name: value for name, value in options.items() if value != method.options()[name].default}


def _check_placebos(request: Request, chosen: Sequence[Method]) -> None:
    if unknown := [p for p in request.placebos if p not in PLACEBOS]:
        raise UsageError(f"--placebo {unknown[0]}: expected {' or '.join(PLACEBOS)}")
    asked = "--placebo" if request.placebos else "--matched-compute" if request.matched_compute else ""
    if asked and not any(m.role == "method" for m in chosen):
        raise UsageError(
            f"{asked}: {', '.join(request.methods)}: no method with privileged information among them",
            "give a method whose role is `method` (`pmbench list methods`)",
        )


def _ablations(registry: Registry, name: str) -> bool:
    offers = registry.offers["method"][name]
    return len(offers) == 1 and bool(offers[0].value.ablations)


def _variant(text: str, registry: Registry) -> tuple[Method, dict[str, Any]]:
    name, options = split_variant(text)
    method = registry.method(name)
    return method, method.parse(options)


def _references(
    request: Request,
    chosen: Sequence[Method],
    asked: Sequence[tuple[Method, dict[str, Any]]],
    registry: Registry,
) -> list[tuple[Method, dict[str, Any]]]:
    """The references that were not asked for themselves."""
    if not request.references:
        return []
    names = list(REFERENCES)
    if any(m.networks > 1 and m.tests_on == "target" for m in chosen):
        names.append(ENSEMBLE)
    plain = {method.name for method, own in asked if not own}
    return [(registry.method(n), {}) for n in names if n in registry.offers["method"] and n not in plain]


def parse_sets(
    sets: Sequence[str], methods: Sequence[Method]
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """`--set` values: (options by method, fields of the recipe).

    `name=value` goes to every chosen method with that option, `method.name=value` to one, `recipe.name=value`
    to the standard recipe. Raises UnknownName for an unknown option, field or method.
    """
    by_method: dict[str, dict[str, Any]] = {}
    recipe: dict[str, Any] = {}
    types = typing.get_type_hints(Recipe)
    for text in sets:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {text}: expected name=value")
        owner, _, field_name = name.rpartition(".")
        if owner == "recipe":
            if field_name not in types:
                raise UnknownName("field of the recipe", field_name, types)
            recipe[field_name] = parse_value(value, types[field_name], name)
            continue
        owners = [m for m in methods if not owner or m.name == owner]
        if not owners:
            raise UnknownName("method in --set", owner, [*(m.name for m in methods), "recipe"])
        takers = [m for m in owners if field_name in m.options()]
        if not takers:
            known = {o for m in owners for o in m.options()}
            who = " or ".join(m.name for m in owners)
            raise UnknownName(f"option of {who}", field_name, [*known, *(f"recipe.{f}" for f in types)])
        for m in takers:
            by_method.setdefault(m.name, {})[field_name] = parse_value(
                value, m.options()[field_name].type, name
            )
    return by_method, recipe
