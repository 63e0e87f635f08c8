"""Plugins of installed distributions, by the names that they offer; one that raises is set aside."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pluggy

from .. import __version__
from ..contracts import hooks
from ..contracts.backbone import Backbone, BackboneFamily
from ..contracts.dataset import Dataset
from ..contracts.method import Method
from ..contracts.metric import Metric
from ..contracts.modality import KINDS, ModalityKind
from ..contracts.published import Published
from ..errors import ContractError, PluginError, PmbenchError, UnknownName
from ..tracebacks import error_text, trace_of

if TYPE_CHECKING:
    from .host import Host

CORE = "pmbench"
"""The distribution whose names win over those of plugins."""
_KINDS: dict[str, tuple[str, type]] = {
    "method": ("pmbench_methods", Method),
    "dataset": ("pmbench_datasets", Dataset),
    "backbone": ("pmbench_backbones", Backbone),
    "metric": ("pmbench_metrics", Metric),
    "modality_kind": ("pmbench_modality_kinds", ModalityKind),
}
_HOOKS: dict[str, tuple[str, type]] = {**_KINDS, "published": ("pmbench_published", Published)}
LISTENING = ("pmbench_epoch_finished", "pmbench_run_finished")
"""Hooks that are called while a run is under way."""
_SHOWN = {
    "method": "method",
    "dataset": "data set",
    "backbone": "backbone",
    "metric": "metric",
    "modality_kind": "modality kind",
}


def _built_in(kind: str) -> Mapping[str, Any]:
    """Values that pmbench offers without a hook; metrics, which need numpy, are imported on first use."""
    if kind == "metric":
        from ..metrics.builtin import METRICS

        return METRICS
    return KINDS if kind == "modality_kind" else {}


@dataclass(frozen=True)
class Offer:
    """A method, data set, backbone, metric or kind of modality, and the distribution that offers it."""

    kind: str
    value: Any
    distribution: str
    version: str

    @property
    def name(self) -> str:
        return self.value.name


@dataclass(frozen=True)
class Broken:
    """A distribution that could not be loaded, or only in part, with the reason and the traceback."""

    distribution: str
    version: str
    where: str
    error: str
    trace: str = ""


@dataclass
class Registry:
    """What plugins offer. A name that two plugins offer raises PluginError when it is requested.

    `hooks` maps distributions to the hooks that they implement, `listeners` those whose code this process
    has loaded to (hook, implementation) of LISTENING. With a `host`, the code of all plugins is in
    processes that it starts, and the offers have their declarations alone.
    """

    offers: dict[str, dict[str, list[Offer]]] = field(default_factory=lambda: {kind: {} for kind in _KINDS})
    broken: list[Broken] = field(default_factory=list)
    families: dict[str, list[Offer]] = field(default_factory=dict)
    published: tuple[Published, ...] = ()
    hooks: dict[str, list[str]] = field(default_factory=dict)
    listeners: dict[str, list[tuple[str, Callable[..., object]]]] = field(default_factory=dict)
    distributions: dict[str, str] = field(default_factory=dict)
    host: Host | None = None
    _made: dict[str, list[Offer]] = field(default_factory=dict)

    def names(self, kind: str) -> list[str]:
        return sorted({*self.offers[kind], *_built_in(kind)})

    def offer(self, kind: str, name: str) -> Offer:
        """The offer of that name; raises UnknownName, or PluginError if two distributions offer it."""
        built_in = _built_in(kind)
        if name in built_in:
            return Offer(kind, built_in[name], "pmbench", __version__)
        found = self.offers[kind].get(name, []) or self._of_family(kind, name)
        if not found:
            hint = "" if built_in else f"`pmbench list {kind}s` shows all; "
            if self.broken:
                hint += f"not loaded: {', '.join(b.distribution for b in self.broken)} (`pmbench plugins`)"
            hint = hint.removesuffix("; ")
            known = {*self.names(kind), *(self.families if kind == "backbone" else ())}
            raise UnknownName(_SHOWN[kind], name, known, hint)
        core = [offer for offer in found if offer.distribution == CORE]
        if len(found) > 1 and not core:
            owners = " and ".join(sorted({o.distribution for o in found})) or "one distribution twice"
            raise PluginError(
                f"{_SHOWN[kind]} {name!r} is offered by {owners}",
                "uninstall one of them: a name has one owner",
            )
        return (core or found)[0]

    def has(self, kind: str, name: str) -> bool:
        """Whether `name` is offered, or made by a family of backbones or by a data set that takes names."""
        if kind == "dataset" and "/" in name:
            return any(o.value.takes_names for o in self.offers[kind].get(name.partition("/")[0], []))
        return name in self.offers[kind] or (kind == "backbone" and self._family(name) is not None)

    def _family(self, name: str) -> list[Offer] | None:
        return next((f for f in self.families.values() if name.startswith(f[0].value.prefix)), None)

    def _of_family(self, kind: str, name: str) -> list[Offer]:
        """The backbone that a family makes for `name`, once; the data set that `folder/name` selects."""
        if kind == "dataset" and "/" in name:
            first, _, rest = name.partition("/")
            return [replace(o, value=o.value.named(rest)) for o in self.offers[kind].get(first, [])]
        family = self._family(name) if kind == "backbone" else None
        if family is not None and name not in self._made:
            self._made[name] = [replace(o, value=o.value.make(name[len(o.value.prefix) :])) for o in family]
        return self._made.get(name, [])

    def method(self, name: str) -> Method:
        return self.offer("method", name).value

    def dataset(self, name: str) -> Dataset:
        return self.offer("dataset", name).value

    def backbone(self, name: str) -> Backbone:
        return self.offer("backbone", name).value

    def metric(self, name: str) -> Metric:
        return self.offer("metric", name).value

    @property
    def libraries(self) -> list[str]:
        """Libraries besides torch that backbones declare, offered ones and those made by families."""
        offers = (o for kind in (self.offers["backbone"], self._made) for os in kind.values() for o in os)
        return sorted({library for offer in offers for library in offer.value.libraries})

    def note_broken(self, distribution: str, where: str, error: str, trace: str = "") -> None:
        """Reports a distribution that raised after loading."""
        self.broken.append(
            Broken(distribution, self.distributions.get(distribution, "unknown"), where, error, trace)
        )

    def collisions(self) -> list[tuple[str, str, list[str]]]:
        """(kind, name, distributions) of each name with several offers."""
        return [
            (_SHOWN[kind], name, sorted({o.distribution for o in offers}))
            for kind, names in (*self.offers.items(), ("backbone", self.families))
            for name, offers in sorted(names.items())
            if len(offers) > 1
        ]

    def add(self, distribution: str, version: str, kind: str, values: Iterable[Any]) -> None:
        """Adds offers of a distribution; raises ContractError for anything but a flat list of its kind."""
        expected = _HOOKS[kind][1]
        wanted = f"expected a flat list of pm.{expected.__name__}"
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise ContractError(f"returned {values!r}; {wanted}")
        taken = list(values)
        for value in taken:
            family = kind == "backbone" and isinstance(value, BackboneFamily)
            if not isinstance(value, expected) and not family:
                what = f"a {type(value).__name__}" if isinstance(value, list | tuple | dict) else repr(value)
                raise ContractError(f"returned a {type(values).__name__} with {what} in it; {wanted}")
        for dataset in taken if kind == "dataset" else ():
            if lacking := [n for n in Dataset.__annotations__ if not hasattr(dataset, n)]:
                raise ContractError(
                    f"data set {getattr(dataset, 'name', type(dataset).__name__)!r} does not declare "
                    f"{', '.join(lacking)}, which every data set has"
                )
        if kind == "published":
            self.published += tuple(taken)
            return
        for value in taken:
            place = self.families if isinstance(value, BackboneFamily) else self.offers[kind]
            place.setdefault(value.name, []).append(Offer(kind, value, distribution, version))

    def settle(self) -> None:
        """Sets aside backbones that accept unknown kinds of modalities."""
        known = self.names("modality_kind")
        for place in (self.offers["backbone"], self.families):
            for name, offers in list(place.items()):
                for offer in list(offers):
                    if unknown := sorted(set(offer.value.kinds) - set(known)):
                        error = f"accepts {', '.join(unknown)}; known kinds of modalities: {', '.join(known)}"
                        self.note_broken(offer.distribution, f"backbone {name}", error)
                        offers.remove(offer)
                if not offers:
                    del place[name]


@functools.cache
def entry_points() -> list[tuple[str, str, importlib.metadata.EntryPoint]]:
    """(distribution, version, entry point) of the plugins, read once for a process and those it forks.

    With PMBENCH_PLUGINS, names of distributions with commas between them, of these and of pmbench alone;
    raises UnknownName for one that is not installed.
    """
    found = importlib.metadata.entry_points(group=hooks.ENTRY_POINT_GROUP)
    named = [(p.dist.name, p.dist.version, p) if p.dist else ("unknown", "unknown", p) for p in found]
    if (chosen := os.environ.get("PMBENCH_PLUGINS")) is not None:
        installed = {normal_name(name): name for name, _, _ in named}
        wanted = [part.strip() for part in chosen.split(",") if part.strip()]
        for name in wanted:
            if normal_name(name) not in installed:
                raise UnknownName("distribution in PMBENCH_PLUGINS", name, installed.values(), _CHOOSE)
        kept = {CORE, *(normal_name(name) for name in wanted)}
        named = [one for one in named if normal_name(one[0]) in kept]
    return sorted(named, key=lambda one: (one[0], one[2].name))


_CHOOSE = "PMBENCH_PLUGINS takes names of installed distributions, such as pmbench-kd,pmbench-hapt"


def normal_name(distribution: str) -> str:
    """A distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _check_contract(distribution: str, requires: Iterable[str]) -> None:
    """Raises ContractError if a distribution requires other releases of pmbench than the installed one."""
    for text in requires:
        if normal_name(text[: len(CORE)]) != CORE:
            continue
        from packaging.requirements import Requirement

        wanted = Requirement(text)
        if normal_name(wanted.name) == CORE and not wanted.specifier.contains(__version__, prereleases=True):
            raise ContractError(
                f"it was written for the contract of pmbench {wanted.specifier}, and pmbench {__version__} "
                f"is installed; install a release of {distribution} for this pmbench"
            )


def load_plugins(only: Collection[str] | None = None) -> Registry:
    """Imports the entry points of the group `pmbench`, or those of the distributions `only`.

    An exception of a plugin is reported in `broken`; only KeyboardInterrupt is passed on.
    """
    manager = pluggy.PluginManager("pmbench")
    manager.add_hookspecs(hooks)
    registry = Registry()
    for distribution, version, point in entry_points():
        if only is not None and distribution not in only:
            continue
        where = "requirements"
        name = f"{distribution}:{point.name}"
        try:
            _check_contract(distribution, (point.dist.requires if point.dist else None) or ())
            where = f"import of {point.value}"
            plugin = point.load()
            where = "hooks"
            manager.register(plugin, name)
            manager.check_pending()
            for kind, (hook, _) in _HOOKS.items():
                for implementation in getattr(manager.hook, hook).get_hookimpls():
                    if implementation.plugin is plugin:
                        where = hook
                        registry.add(distribution, version, kind, implementation.function())
            registry.distributions[distribution] = version
            hooked = registry.hooks.setdefault(distribution, [])
            hooked += [caller.name for caller in manager.get_hookcallers(plugin) or ()]
            registry.listeners.setdefault(distribution, []).extend(
                (hook, implementation.function)
                for hook in LISTENING
                for implementation in getattr(manager.hook, hook).get_hookimpls()
                if implementation.plugin is plugin
            )
        except (Exception, SystemExit) as error:
            reason = error.message if isinstance(error, PmbenchError) else error_text(error)
            registry.broken.append(Broken(distribution, version, where, reason, trace_of(error)))
            if manager.get_plugin(name) is not None:
                manager.unregister(name=name)
    if only is None:
        registry.settle()
    return registry
