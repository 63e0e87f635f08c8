"""A submission with the referee's own data, plugins and plans."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ...contracts.backbone import Weights
from ...contracts.options import parse_value
from ...contracts.recipe import Recipe
from ...data.prepare import prepare_named
from ...data.prepared import Prepared, open_prepared
from ...errors import DataNotPrepared, PmbenchError, UnknownName, UsageError
from ...evaluation.evaluator import PRELOAD, Evaluator
from ...isolation.forkserver import Forkserver
from ...plugins import CORE, Registry, survey
from ...plugins.registry import entry_points
from ...report.cell import CellInfo
from ...report.record import Record
from ...report.submission import Entry, Submission
from ...store.keys import CellSpec, Context, digest
from ...store.source import module_digest
from ..plan import PlannedCell, with_stages
from ..planner import failed
from ..request import Variant

_OWN = (
    "activitynet adda amid antispoofing apg audiovisual cgan contrast distill dmcl graph hallucination hapt "
    "hmdb htad iemocap kd mfeat mfh missing mmh multiview ntu nyud panns pines pytorchvideo timm torchvision "
    "ucf utd-mhad"
)
KNOWN = frozenset(f"pmbench-{name}" for name in _OWN.split())
"""Plugins of pmbench's own repository. The code of others is not imported unless the referee is asked to."""


_WEIGHTED = re.compile(r"(?P<name>.+) \((?P<weights>.+) (?P<digits>[0-9a-f]{12})\)")
"""Label of a backbone with pretrained weights: `timm/resnet18 (imagenet 0123456789ab)`."""


class Unknown(Exception):
    """The referee lacks what it needs: data, a plugin, weights. The message says what."""


class Wrong(Exception):
    """A record names something that does not exist."""


@dataclass
class Case:
    """One submission. `data`: folder of the referee's prepared data; `plugins`: others than KNOWN to import.

    `weights`: folder of the referee's own pretrained weights, by digest. `own`: records that the referee
    holds already. `nonce` draws orders, batch sizes and the seed to train again; `exact`: that is on the
    machine kind of the submission, and has to give the same bits.
    """

    submission: Submission
    data: Path
    plugins: Sequence[str] = ()
    weights: Path | None = None
    own: Sequence[Record] = ()
    base: str = ""
    nonce: str = ""
    device: str = "cpu"
    workers: int = 1
    exact: bool = False
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._prepared: dict[str, Prepared | Unknown] = {}
        installed = {name for name, _, _ in entry_points()}
        if missing := next((name for name in self.plugins if name not in installed), None):
            raise UnknownName("distribution with plugins", missing, sorted(installed))

    @cached_property
    def registry(self) -> Registry:
        """Plugins that are known or asked for, each imported in a process of its own."""
        return survey(KNOWN | set(self.plugins))

    @cached_property
    def evaluator(self) -> Evaluator:
        """Runs each program in a process of its own, whose server ends with this process."""
        return Evaluator(Forkserver(PRELOAD, {}))

    def prepared(self, name: str) -> Prepared:
        """The referee's own prepared data; raises Unknown if there is none."""
        if name not in self._prepared:
            try:
                self._prepared[name] = prepared_for(self.registry, name, self.data)
            except UnknownName as error:
                self._prepared[name] = Unknown(
                    f"{error.message}; install its plugin and name it with --plugin"
                )
            except PmbenchError as error:
                self._prepared[name] = Unknown(f"the referee has no prepared data of {name}: {error.message}")
        found = self._prepared[name]
        if isinstance(found, Unknown):
            raise found
        return found

    @cached_property
    def plans(self) -> dict[str, PlannedCell | Unknown | Wrong]:
        """File of each record -> its cell, planned by the referee."""
        found: dict[str, PlannedCell | Unknown | Wrong] = {}
        for entry in self.submission.entries:
            try:
                found[entry.file] = self.unplanned(entry.record)
            except (Unknown, Wrong) as reason:
                found[entry.file] = reason
        files = [file for file, cell in found.items() if isinstance(cell, PlannedCell)]
        names = {e.record.cell.dataset for e in self.submission.entries if e.file in files}
        datasets = {name: self.prepared(name) for name in names}
        cells = [cell for cell in found.values() if isinstance(cell, PlannedCell)]
        try:
            return found | dict(zip(files, with_stages(cells, self.registry, datasets), strict=True))
        except PmbenchError:  # one with options that are wrong: each by itself
            for file, cell in zip(files, cells, strict=True):
                try:
                    found[file] = with_stages([cell], self.registry, datasets)[0]
                except PmbenchError as error:
                    found[file] = dataclasses.replace(cell, failure=failed(cell.method.name, error).failure)
        return found

    def unplanned(self, record: Record) -> PlannedCell:
        """The cell of a record without its stages; raises Unknown or Wrong."""
        info = record.cell
        context, spec, standard = self.resolved(info)
        try:
            method = self.registry.method(info.method)
        except PmbenchError as error:
            raise Unknown(f"{error.message}; install its plugin and name it with --plugin") from error
        options = {name: _tuples(value) for name, value in info.options.items()}
        if strange := sorted(set(options) - set(method.options())):
            raise Wrong(f"method {method.name!r} has no option {strange[0]!r}")
        variant = Variant(
            method,
            options,
            info.value_set,
            info.ablation.row if info.ablation else "",
            {name: _tuples(value) for name, value in info.ablation.of.items()} if info.ablation else {},
            info.placebo or "",
            info.matched_epochs is not None,
            info.study,
        )
        if info.ablation and info.ablation.row not in method.ablations:
            raise Wrong(f"method {method.name!r} has no ablation {info.ablation.row!r}")
        return PlannedCell(variant, context, spec, standard)

    def resolved(self, info: CellInfo) -> tuple[Context, CellSpec, Recipe]:
        """Context, names and standard recipe of a cell; raises Unknown or Wrong."""
        prepared = self.prepared(info.dataset)
        dataset = prepared.dataset
        chosen = {modality: self.backbone(label) for modality, label in info.backbones.items()}
        try:
            standard = recipe_of(info.recipe_set, dataset.recipes)
            recipe = standard.but(epochs=info.matched_epochs) if info.matched_epochs else standard
            protocol = dataset.protocol(info.protocol)
            used = sorted((*protocol.target, *protocol.privileged))
            if sorted(info.backbones) != used:
                raise Wrong(
                    f"backbones of {', '.join(info.backbones)}; {protocol.name} has {', '.join(used)}"
                )
            spec = CellSpec(
                dataset.name,
                protocol.name,
                tuple((modality, chosen[modality][0]) for modality in used),
                recipe,
                info.seed,
                tuple((m, weights) for m in used if (weights := chosen[m][1]) is not None),
                info.placebo or "",
            )
            for name, _ in chosen.values():
                try:
                    self.registry.backbone(name)
                except PmbenchError as error:
                    raise Unknown(f"{error.message}; install its plugin and name it with --plugin") from error
            return spec.resolve(dataset, prepared.fingerprint, self.registry), spec, standard
        except PmbenchError as error:
            raise Wrong(error.message) from error

    def backbone(self, label: str) -> tuple[str, Weights | None]:
        """Name and pretrained weights of a backbone, from the label that a record has; raises Unknown.

        A label has the first digits of a digest. The referee's own weights have all, and the keys of the
        stages, which are planned with them, depend on all.
        """
        found = _WEIGHTED.fullmatch(label)
        if found is None:
            return label, None
        files = sorted(self.weights.glob(f"{found['digits']}*.safetensors")) if self.weights else []
        if len(files) != 1:
            raise Unknown(
                f"the referee has no pretrained weights {found['weights']} {found['digits']}; "
                f"`pmbench plan --backbone {found['name']} --weights {found['weights']}` fetches them"
            )
        return found["name"], Weights(found["weights"], files[0].stem)

    def differs(self, entry: Entry) -> str:
        """How the referee's code differs from the one that a record states, or empty.

        With other code, another key is no forgery; the referee has to install the stated one.
        """
        stated = entry.record.provenance.distributions
        statement = self.submission.statement
        sources = {p.distribution: p for p in statement.plugins} if statement else {}
        for name in distributions_of(self.registry, entry.record.cell):
            installed = self.registry.distributions[name]
            if stated.get(name) != installed:
                return f"made with {name} {stated.get(name, 'of no version')}, the referee has {installed}"
            if name != CORE and name in sources and sources[name].source_sha256 != source_digest(name):
                return f"the source of {name} that is stated is not the one that the referee has"
        return ""


def prepared_for(registry: Registry, name: str, data: Path) -> Prepared:
    """Prepared data of a name; embedded data is prepared on first use."""
    dataset = registry.dataset(name)
    try:
        return open_prepared(dataset, data)
    except DataNotPrepared:
        source = dataset.find_source()
        if source is None:
            raise
        return prepare_named(registry, name, source, data)


def recipe_of(text: str, named: Mapping[str, Recipe]) -> Recipe:
    """The recipe that `plan.recipe_name` has put into words; raises UsageError for other words."""
    name, *changes = re.split(r", (?=\w+=)", text)
    if name not in named:
        raise UsageError(f"the data set has no recipe {name!r}")
    types, fields = typing.get_type_hints(Recipe), {}
    for change in changes:
        field_name, equals, value = change.partition("=")
        if not equals or field_name not in types:
            raise UsageError(f"{change!r} changes no field of a recipe")
        plain = value.strip("()").rstrip(",").replace(", ", "+")  # a tuple as Python writes it
        fields[field_name] = parse_value(plain, types[field_name], field_name)
    return named[name].but(**fields)


def distributions_of(registry: Registry, cell: CellInfo) -> list[str]:
    """Distributions that offer the method, data set and backbones of a cell; unknown names are left out."""
    found = {CORE}
    names = [("method", cell.method), ("dataset", cell.dataset)]
    names += [("backbone", label.partition(" (")[0]) for label in cell.backbones.values()]
    for kind, name in names:
        try:
            found.add(registry.offer(kind, name).distribution)
        except PmbenchError:
            continue
    return sorted(found)


def source_digest(distribution: str) -> str:
    """SHA-256 over the sources of the modules of a distribution's plugins, without comments and messages."""
    modules = sorted({point.module for name, _, point in entry_points() if name == distribution})
    if not modules:
        raise importlib.metadata.PackageNotFoundError(distribution)
    return digest({module: module_digest(module) for module in modules})


def _tuples(value: Any) -> Any:
    """Options as methods take them; JSON has lists for tuples."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
