"""Methods that can be tuned, and the cells of their trials."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...contracts.method import Method
from ...contracts.options import split_variant
from ...contracts.protocol import Protocol, members
from ...contracts.recipe import NO_SETUP
from ...contracts.search import Space
from ...data.prepared import Prepared
from ...errors import UsageError
from ...plugins import Registry
from ...report.text import variant_text
from ...store.store import Store
from ..plan import Plan, PlannedCell, make_plan
from ..request import expanded, parse_sets, variants_of
from .request import TuningRequest

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Tunable:
    """A method with the options `given` in its name. `base`: its options in the first trial."""

    method: Method
    given: Values
    base: Values
    spaces: Mapping[str, Space]

    @property
    def label(self) -> str:
        """`kd`, `kd[teacher=privileged]`."""
        return variant_text(self.method.name, self.given)

    @property
    def defaults(self) -> dict[str, Any]:
        """Values of the searched options in the first trial."""
        return {n: self.base.get(n, self.method.options()[n].default) for n in self.spaces}

    def changes(self, values: Values) -> dict[str, Any]:
        """Those values that are not the default's."""
        return {n: v for n, v in values.items() if v != self.defaults[n]}

    def options(self, values: Values) -> dict[str, Any]:
        """All options of a trial that are not those of the method's declaration."""
        return {**self.base, **self.changes(values)}


def tunables(request: TuningRequest, registry: Registry) -> tuple[list[Tunable], dict[str, str]]:
    """The methods that have a search space, and the others with the reason by name.

    Options given in the name of a method, or by `--set`, are not searched. Raises UnknownName and UsageError.
    """
    dataset = registry.dataset(request.dataset)
    setup = dataset.setups.get(request.recipe or dataset.recipe_name, NO_SETUP)
    run = expanded(request.run(request.methods, request.seeds), registry)
    variants, _ = variants_of(run, registry, setup)
    if len(variants) < len(run.methods):
        raise UsageError(f"{', '.join(run.methods)}: two of these are the same method with the same options")
    sets, _ = parse_sets(run.sets, list({v.method.name: v.method for v in variants}.values()))
    found, without = [], {}
    for text, variant in zip(run.methods, variants, strict=True):
        method, declared = variant.method, variant.method.spaces()
        given = method.parse(split_variant(text)[1])
        spaces = {n: s for n, s in declared.items() if n not in given and n not in sets.get(method.name, {})}
        one = Tunable(method, given, dict(variant.options), spaces)
        if spaces:
            found.append(one)
        else:
            without[one.label] = (
                "all options of its search space are given" if declared else "it declares no search space"
            )
    return found, without


class Cells:
    """The cells of trials, planned together."""

    def __init__(
        self,
        request: TuningRequest,
        registry: Registry,
        data: Path,
        store: Store,
        wanted: Sequence[tuple[Tunable, Values]],
        seeds: tuple[int, ...],
    ) -> None:
        texts = [variant_text(t.method.name, {**t.given, **t.changes(v)}) for t, v in wanted]
        run = request.run(tuple(dict.fromkeys(texts)), seeds)
        self.plan: Plan = make_plan(run, registry, data, store)
        self.seeds = seeds
        self._found = {
            (cell.method.name, _hashable(cell.options), cell.spec.seed): cell for cell in self.plan.cells
        }

    def of(self, one: Tunable, values: Values) -> list[PlannedCell]:
        """The cells of a trial, by seed."""
        options = _hashable(one.options(values))
        return [self._found[one.method.name, options, seed] for seed in self.seeds]

    def stages(self, one: Tunable, values: Values) -> tuple[tuple[str, ...], ...]:
        """Keys of the stages of a trial, for each seed."""
        return tuple(cell.keys for cell in self.of(one, values))


def _hashable(options: Values) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(options.items()))


def only_protocol(request: TuningRequest, registry: Registry) -> Protocol:
    """The protocol of a study; raises UsageError for a name of several."""
    dataset = registry.dataset(request.dataset)
    found = list(members(dataset, request.protocol or dataset.default_protocol))
    if len(found) > 1:
        raise UsageError(
            f"--protocol {request.protocol} is {len(found)} protocols: {', '.join(found)}", "tune one of them"
        )
    return dataset.protocol(found[0])


def check_validation(prepared: Prepared, protocol: Protocol, seeds: Iterable[int]) -> None:
    """Raises UsageError, or DataError, if a protocol has no labelled validation data."""
    from ...training.samples import training_view

    for seed in seeds:
        if not len(training_view(prepared, protocol, seed).validation.rows):
            raise UsageError(
                f"data set {prepared.dataset.name!r} has no labelled validation data under protocol "
                f"{protocol.name!r}, so no trial can be scored",
                "choose another protocol (`pmbench list protocols`)",
            )
