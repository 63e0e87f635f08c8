"""What plugins declare, as plain values, and objects made of them for processes that run no plugin.

Such an object has the declarations of the original. What needs its code is done in a process that has loaded
the plugin, or raises PluginError.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from ..contracts.backbone import Backbone, BackboneFamily, Pretrained
from ..contracts.dataset import Dataset
from ..contracts.method import Ablation, Delivery, Method, Role, TestsOn
from ..contracts.metric import Metric
from ..contracts.modality import Modality, ModalityKind
from ..contracts.options import Options, option
from ..contracts.protocol import Split
from ..contracts.published import Published
from ..contracts.recipe import Recipe, Setup
from ..contracts.samples import Download, Sampling
from ..errors import ContractError, PluginError

Ask = Callable[..., Any]
"""`ask(function, **arguments)`: calls a function of `within` where the plugin is loaded."""


@dataclass(frozen=True)
class OptionFacts:
    name: str
    type: Any
    default: Any
    help: str
    within: str


@dataclass(frozen=True)
class AblationFacts:
    options: dict[str, Any]
    printed: tuple[str, ...]


@dataclass(frozen=True)
class MethodFacts:
    name: str
    summary: str
    paper: str
    role: Role
    tests_on: TestsOn
    networks: int
    deviations: tuple[str, ...]
    exceptions: dict[str, str]
    ablations: dict[str, AblationFacts]
    small: dict[str, Any]
    teachers: dict[str, str]
    search: dict[str, str | tuple[Any, ...]]
    deliveries: tuple[Delivery, ...]
    options: tuple[OptionFacts, ...]
    module: str
    about: str


@dataclass(frozen=True)
class DatasetFacts:
    name: str
    version: int
    summary: str
    licence: str
    source: str
    citation: str
    demo_of: str
    classes: tuple[str, ...]
    positive_class: int
    modalities: tuple[Modality, ...]
    expected: dict[str, int | tuple[int, ...]]
    splits: dict[str, Split]
    averages: dict[str, tuple[str, ...]]
    target: tuple[str, ...]
    privileged: tuple[str, ...]
    default_protocol: str
    few: tuple[int, ...]
    sampling: Sampling
    metrics: tuple[str, ...]
    backbones: dict[str, str]
    recipes: dict[str, Recipe]
    setups: dict[str, Setup]
    access: str
    downloads: tuple[Download, ...]
    unpack: bool
    unpacked_bytes: int
    declaration: dict[str, Any] | None
    embedded: str | None
    takes_names: bool
    augments: bool
    module: str
    about: str


@dataclass(frozen=True)
class BackboneFacts:
    name: str
    kinds: tuple[str, ...]
    provides: tuple[str, ...]
    summary: str
    size: int
    module: str
    tail: bool
    fuse_at: int
    urls: dict[str, str] | None
    fresh: str
    libraries: tuple[str, ...]


@dataclass(frozen=True)
class FamilyFacts:
    prefix: str
    kinds: tuple[str, ...]
    provides: tuple[str, ...]
    summary: str


@dataclass(frozen=True)
class MetricFacts:
    name: str
    title: str
    needs: Literal["predicted", "logits", "features"]
    module: str
    higher_is_better: bool


_OF: dict[type, Callable[[Any], Any]] = {}
_INTO: dict[str, tuple[type, Callable[[Any, Ask], Any]]] = {}


def write(value: Any) -> dict[str, Any]:
    """A method, data set, backbone or family, metric, kind of modality or published number as JSON."""
    kind = next(k for k in _OF if isinstance(value, k))
    facts = _OF[kind](value)
    return {"kind": kind.__name__, "facts": msgspec.to_builtins(facts)}


def read(values: Mapping[str, Any], ask: Ask) -> Any:
    """The object that `write` was given, without its code; raises ContractError for malformed values."""
    facts, make = _INTO[values["kind"]]
    try:
        return make(msgspec.convert(values["facts"], facts), ask)
    except (msgspec.ValidationError, ContractError) as error:
        raise ContractError(f"declarations of a {values['kind'].lower()}: {error}") from error


class Elsewhere:
    """Stands for a function of a plugin, in the module `module`, that this process has not loaded."""

    def __init__(self, module: str, about: str = "") -> None:
        self.__module__, self.__doc__ = module, about

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        raise PluginError(f"{self.__module__} belongs to a plugin, which this process has not loaded")


# --- methods ------------------------------------------------------------------------------------------------


def _method_facts(method: Method) -> MethodFacts:
    return MethodFacts(
        **{f.name: getattr(method, f.name) for f in dataclasses.fields(Method) if f.name in _SAME},
        exceptions=dict(method.exceptions),
        ablations={n: AblationFacts(dict(a.options), a.printed) for n, a in method.ablations.items()},
        small=dict(method.small),
        teachers=dict(method.teachers),
        search=dict(method.search),
        deliveries=method.deliveries,
        options=tuple(
            OptionFacts(o.name, _write_type(o.type), o.default, o.help, o.within)
            for o in method.options().values()
        ),
        module=home(method.plan),
        about=inspect.getdoc(method.plan) or "",
    )


_SAME = ("name", "summary", "paper", "role", "tests_on", "networks", "deviations")


def _method(facts: MethodFacts, ask: Ask) -> Method:
    fields = [
        (o.name, _read_type(o.type), option(_tuples(o.default), o.help, within=o.within))
        for o in facts.options
    ]
    return Method(
        **{name: getattr(facts, name) for name in _SAME},
        plan=Elsewhere(facts.module, facts.about),
        exceptions=facts.exceptions,
        ablations={n: Ablation(_tuples(a.options), a.printed) for n, a in facts.ablations.items()},
        small=_tuples(facts.small),
        teachers=facts.teachers,
        search=_tuples(facts.search),
        deliveries=tuple(dataclasses.replace(d, when=_tuples(d.when)) for d in facts.deliveries),
        options_type=dataclasses.make_dataclass("Options", fields, bases=(Options,), frozen=True),
    )


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _tuples(inner) for name, inner in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


_PLAIN = {kind.__name__: kind for kind in (bool, int, float, str)}


def _write_type(kind: Any) -> Any:
    """A type of an option as JSON: the name of a plain type, or [what it is, its parts...]."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union) and type(None) in parts and len(parts) == 2:
        return ["optional", _write_type(next(part for part in parts if part is not type(None)))]
    if origin is Literal:
        return ["literal", *parts]
    if origin is tuple and len(parts) == 2 and parts[1] is Ellipsis:
        return ["tuple", _write_type(parts[0])]
    if kind in _PLAIN.values():
        return kind.__name__
    raise ContractError(
        f"an option has the type {kind}; expected bool, int, float, str, Literal, tuple[..., ...], or one of "
        "them or None"
    )


def _read_type(values: Any) -> Any:
    match values:
        case str() if values in _PLAIN:
            return _PLAIN[values]
        case ["optional", inner]:
            return _read_type(inner) | None
        case ["literal", *parts] if parts:
            return Literal[tuple(parts)]
        case ["tuple", inner]:
            return tuple[_read_type(inner), ...]  # type: ignore[misc]
    raise ContractError(f"{values!r} is no type of an option")


# --- data sets ----------------------------------------------------------------------------------------------


class RemoteDataset(Dataset):
    """A data set by its declarations."""

    def __init__(self, facts: DatasetFacts, ask: Ask) -> None:
        self._facts, self._ask = facts, ask
        named = {f.name: getattr(facts, f.name) for f in dataclasses.fields(facts) if f.name not in _OWN}
        setups = {n: dataclasses.replace(s, options=_tuples(s.options)) for n, s in facts.setups.items()}
        self.__dict__.update(named, setups=setups, __doc__=facts.about)

    @property
    def module(self) -> str:
        return self._facts.module

    @property
    def augments(self) -> bool:
        return self._facts.augments

    @property
    def takes_names(self) -> bool:
        return self._facts.takes_names

    def find_source(self) -> Path | None:
        return Path(self._facts.embedded) if self._facts.embedded is not None else None

    def named(self, name: str) -> Dataset:
        if not self.takes_names:
            return super().named(name)
        return read(self._ask("named_dataset", dataset=self.name, name=name), self._ask)

    def declared(self, declaration: Mapping[str, Any]) -> Dataset:
        if dict(declaration) == self.declaration:
            return self
        return read(self._ask("declared_dataset", dataset=self.name, declaration=declaration), self._ask)


_OWN = ("embedded", "takes_names", "augments", "module", "about")


def _dataset_facts(dataset: Dataset) -> DatasetFacts:
    source = dataset.find_source()
    names = [f.name for f in dataclasses.fields(DatasetFacts) if f.name not in _OWN]
    return DatasetFacts(
        **{name: getattr(dataset, name) for name in names},
        embedded=str(source) if source is not None else None,
        takes_names=dataset.takes_names,
        augments=dataset.augments,
        module=dataset.module,
        about=inspect.getdoc(dataset) or "",
    )


# --- the rest -----------------------------------------------------------------------------------------------


def _backbone_facts(backbone: Backbone) -> BackboneFacts:
    return BackboneFacts(
        name=backbone.name,
        kinds=tuple(sorted(backbone.kinds)),
        provides=tuple(sorted(backbone.provides)),
        summary=backbone.summary,
        size=backbone.size,
        module=home(backbone.build),
        tail=backbone.tail is not None,
        fuse_at=backbone.fuse_at,
        urls=dict(backbone.pretrained.urls) if backbone.pretrained else None,
        fresh=backbone.pretrained.fresh if backbone.pretrained else "",
        libraries=backbone.libraries,
    )


def _backbone(facts: BackboneFacts, ask: Ask) -> Backbone:
    code = Elsewhere(facts.module)
    return Backbone(
        facts.name,
        frozenset(facts.kinds),
        frozenset(facts.provides),
        facts.summary,
        facts.size,
        code,
        code if facts.tail else None,
        facts.fuse_at,
        Pretrained(facts.urls, code, facts.fresh) if facts.urls is not None else None,
        libraries=facts.libraries,
    )


def _family_facts(family: BackboneFamily) -> FamilyFacts:
    kinds, provides = tuple(sorted(family.kinds)), tuple(sorted(family.provides))
    return FamilyFacts(family.prefix, kinds, provides, family.summary)


def _family(facts: FamilyFacts, ask: Ask) -> BackboneFamily:
    def make(rest: str) -> Backbone:
        return read(ask("made_backbone", prefix=facts.prefix, rest=rest), ask)

    kinds, provides = frozenset(facts.kinds), frozenset(facts.provides)
    return BackboneFamily(facts.prefix, kinds, provides, facts.summary, make)


def _metric_facts(metric: Metric) -> MetricFacts:
    return MetricFacts(
        metric.name, metric.title, metric.needs, home(metric.function), metric.higher_is_better
    )


def _metric(facts: MetricFacts, ask: Ask) -> Metric:
    class Measured(Elsewhere):
        def __call__(self, evidence: Any) -> float:
            return float(ask("measured", metric=facts.name, evidence=evidence))

    code = Measured(facts.module)
    return Metric(facts.name, facts.title, facts.needs, code, higher_is_better=facts.higher_is_better)


def _itself(value: Any, ask: Any = None) -> Any:
    return value


_OF |= {
    Method: _method_facts,
    Dataset: _dataset_facts,
    Backbone: _backbone_facts,
    BackboneFamily: _family_facts,
    Metric: _metric_facts,
    ModalityKind: _itself,
    Published: _itself,
}
_INTO |= {
    "Method": (MethodFacts, _method),
    "Dataset": (DatasetFacts, RemoteDataset),
    "Backbone": (BackboneFacts, _backbone),
    "BackboneFamily": (FamilyFacts, _family),
    "Metric": (MetricFacts, _metric),
    "ModalityKind": (ModalityKind, _itself),
    "Published": (Published, _itself),
}


def home(function: Any) -> str:
    """The module that defines a function, also inside `functools.partial`."""
    while isinstance(function, functools.partial):
        function = function.func
    return function.__module__
