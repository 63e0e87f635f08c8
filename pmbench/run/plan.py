"""Plans: cells of a request, and the graph of their stages."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

from ..contracts.dataset import Dataset
from ..contracts.method import Method
from ..contracts.protocol import members, with_sampling
from ..contracts.recipe import NO_SETUP, Recipe
from ..contracts.setting import Setting
from ..data.carve import too_few
from ..data.prepare import prepare_named
from ..data.prepared import Prepared, open_prepared
from ..data.sources import check_unchanged
from ..errors import DataNotPrepared, PluginError, PmbenchError, UnknownName, UsageError, plural
from ..plugins import Registry
from ..report.rows import FLOOR
from ..store.documents import StageDocument, part_of
from ..store.keys import CellSpec, Context, digest, digests_of
from ..store.store import Store
from .backbones import backbones_of, weights_of
from .planner import Question, Stages, failed, stages_of
from .request import DEFAULT_DATASET, Request, Variant, variants_of


@dataclass(frozen=True)
class PlannedCell:
    """One (method with its options, data set, protocol, backbones, seed).

    `stages` are the stages of the method, the last one at the end, and `keys` their keys; both are empty if
    the setting does not allow the method, for the reason `skip`, or if its plan failed (`failure`, `trace`).
    `first_key`: key of the last stage with seed 0.
    `standard` is the recipe of the table; a floor of matched compute has more epochs.
    """

    variant: Variant
    context: Context
    spec: CellSpec
    standard: Recipe
    stages: tuple[StageDocument, ...] = ()
    keys: tuple[str, ...] = ()
    first_key: str = ""
    skip: str = ""
    failure: str = ""
    trace: str = ""

    @property
    def key(self) -> str:
        """Key of the last stage, or empty."""
        return self.keys[-1] if self.keys else ""

    @property
    def method(self) -> Method:
        return self.variant.method

    @property
    def setting(self) -> Setting:
        return self.context.setting

    @property
    def options(self) -> Mapping[str, Any]:
        return self.variant.options

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.method.test_modalities(self.setting)

    @property
    def identity(self) -> str:
        """Key of the cell: the trained stage, its test data and its metrics."""
        return self._identity(self.key, self.context.seed)

    @property
    def row_key(self) -> str:
        """Key of the same cell with seed 0: equal for all seeds that the same code and data give."""
        return self._identity(self.first_key, 0)

    def _identity(self, key: str, seed: int) -> str:
        split, protocol = self.context.protocol.split, self.context.protocol
        return digest(
            {
                "method": self.method.name,
                "options": dict(self.options),
                "stage": key or None,
                "setting": [list(self.setting.target), list(self.setting.privileged), protocol.name],
                "backbones": self.spec.backbones,
                "seed": seed,
                "inputs": list(self.inputs),
                "test": digests_of(self.context.fingerprint, split.test, (*self.inputs, "labels", "index")),
                "metrics": list(protocol.metrics),
                **self.variant.identity,
            }
        )

    @property
    def path(self) -> Path:
        """Path of the cell's record below the folder of records, without suffix."""
        backbones = "+".join(dict.fromkeys(self.context.backbones[m].label for m in self.setting.all))
        for sign, plain in (("/", "_"), (" (", "-"), (" ", "-"), (")", "")):
            backbones = backbones.replace(sign, plain)
        row = self.variant
        named = [row.ablation, dict(row.of), dict(row.options)] if row.ablation else dict(row.options)
        varied = f"-{digest(named)[:8]}" if named else ""
        varied += f"-{row.value_set}" if row.value_set != "paper" else ""
        varied += f"-{row.placebo}" if row.placebo else ""
        varied += f"-matched{self.spec.recipe.epochs}" if row.matched else ""
        varied += f"-tuned{row.study.digest[:8]}" if row.study else ""
        recipe = self.standard
        if recipe != self.context.dataset.recipe:
            varied += f"-r{digest(dataclasses.asdict(recipe))[:8]}"
        return (
            Path(self.context.dataset.name.replace("/", "_"))
            / self.context.protocol.name
            / backbones
            / (f"{self.method.name}{varied}-s{self.context.seed}")
        )


@dataclass
class PlannedStage:
    """A stage of the graph: keys of its parents, and whether it is stored.

    `lineage` are the documents of its ancestors and, at the end, its own.
    """

    key: str
    lineage: tuple[StageDocument, ...]
    spec: CellSpec
    context: Context
    parents: tuple[str, ...]
    stored: bool = False

    @property
    def stage(self) -> StageDocument:
        return self.lineage[-1]


@dataclass
class Plan:
    """Cells and their stages, parents first."""

    cells: list[PlannedCell]
    nodes: dict[str, PlannedStage]
    prepared: dict[str, Prepared]

    @property
    def total_stages(self) -> int:
        """Number of stages, counted once for each cell that uses them."""
        return sum(len(cell.stages) for cell in self.cells)


def make_plan(request: Request, registry: Registry, data: Path, store: Store) -> Plan:
    """Expands names to cells and stages. Raises UnknownName, UsageError and DataNotPrepared."""
    if not request.seeds:
        raise UsageError("no seed to run", "give --seeds N or --seed S")
    cells = []
    opened: dict[str, Prepared] = {}
    for name in request.datasets:
        prepared = opened[name] = _prepared(request, registry, name, data)
        dataset = prepared.dataset
        given = request.protocols or (dataset.default_protocol,)
        named = dict.fromkeys(member for protocol in given for member in members(dataset, protocol))
        setup = dataset.setups.get(request.recipe or dataset.recipe_name, NO_SETUP)
        variants, recipe_sets = variants_of(request, registry, setup)
        protocols = [with_sampling(dataset, name, setup.sampling) for name in named]
        chosen = [
            (names, weights_of(request.weights, setup, dataset, names, registry, store))
            for names in (backbones_of(dataset, text, setup, registry) for text in request.backbones or ("",))
        ]
        recipe = _with_sets(named_recipe(dataset, request.recipe), recipe_sets)
        for protocol, (backbones, weights), seed in product(protocols, chosen, request.seeds):
            used = (*protocol.target, *protocol.privileged)
            spec = CellSpec(
                name,
                protocol.name,
                tuple(sorted((m, backbones[m]) for m in used)),
                recipe,
                seed,
                tuple(sorted((m, w) for m, w in weights.items() if m in used)),
            )
            specs = {p: dataclasses.replace(spec, placebo=p) for p in ("", *request.placebos)}
            contexts = {p: s.resolve(dataset, prepared.fingerprint, registry) for p, s in specs.items()}
            cells += [
                PlannedCell(variant, contexts[variant.placebo], specs[variant.placebo], recipe)
                for variant in variants
            ]
    cells = with_stages(cells, registry, opened)
    if request.matched_compute:
        cells += with_stages(_matched(cells, request, registry), registry, opened)
    return Plan(cells, graph_of(cells, store), opened)


def _matched(cells: Iterable[PlannedCell], request: Request, registry: Registry) -> list[PlannedCell]:
    """Floors that take as many steps as all stages of a method: one for each number of epochs."""
    variant = Variant(registry.method(FLOOR), value_set=request.value_set, matched=True)
    found: dict[CellSpec, PlannedCell] = {}
    for cell in cells:
        if cell.method.role != "method" or cell.variant.ablation or cell.variant.placebo or not cell.keys:
            continue
        size = cell.standard.batch_size
        work = sum(Fraction(s.recipe.epochs * size, s.recipe.batch_size) for s in cell.stages)
        spec = dataclasses.replace(cell.spec, recipe=cell.standard.but(epochs=math.ceil(work)))
        context = dataclasses.replace(cell.context, recipe=spec.recipe)
        found.setdefault(spec, PlannedCell(variant, context, spec, cell.standard))
    return list(found.values())


def _prepared(request: Request, registry: Registry, name: str, data: Path) -> Prepared:
    """The prepared data set; DataNotPrepared names a run that needs no download."""
    dataset = registry.dataset(name)
    try:
        prepared = open_prepared(dataset, data)
        check_unchanged(prepared)
        return prepared
    except DataNotPrepared as error:
        source = dataset.find_source()
        if source is not None:
            return prepare_named(registry, name, source, data)
        embedded = [n for n in registry.names("dataset") if registry.dataset(n).find_source() is not None]
        ready = DEFAULT_DATASET if DEFAULT_DATASET in embedded else next(iter(embedded), name)
        command = f"`pmbench run --method {','.join(request.methods)} --dataset {ready}`"
        raise DataNotPrepared(error.message, f"{error.hint}. Works right now: {command}") from error


def named_recipe(dataset: Dataset, name: str) -> Recipe:
    if name and name not in dataset.recipes:
        raise UnknownName(f"recipe of data set {dataset.name!r}", name, dataset.recipes)
    return dataset.recipes[name] if name else dataset.recipe


def recipe_name(dataset: Dataset, recipe: Recipe) -> str:
    """Name of the nearest named recipe, and the fields that differ from it."""
    departures = {name: recipe.departures(named) for name, named in dataset.recipes.items()}
    name = min(departures, key=lambda n: len(departures[n]))
    return ", ".join([name, *(f"{field}={own}" for field, (_, own) in departures[name].items())])


def _with_sets(recipe: Recipe, sets: Mapping[str, Any]) -> Recipe:
    from ..training.schedule import checked_recipe

    changed = checked_recipe(recipe.but(**sets), "--set recipe")
    if changed.epochs < 1:
        raise UsageError("--set recipe.epochs=0 trains nothing", "give at least 1")
    return changed


def with_stages(
    cells: list[PlannedCell], registry: Registry, prepared: Mapping[str, Prepared]
) -> list[PlannedCell]:
    """`cells` with their stages, or with the reasons why they have none."""
    few = {(c.spec.dataset, c.spec.protocol): c for c in cells}
    reasons = {key: _too_few(cell, prepared[cell.spec.dataset]) for key, cell in few.items()}
    cells = [
        dataclasses.replace(cell, skip=reason)
        if (reason := reasons[cell.spec.dataset, cell.spec.protocol])
        else _tested(cell, prepared[cell.spec.dataset])
        for cell in cells
    ]
    groups: dict[tuple[str, str, CellSpec], list[int]] = {}
    for place, cell in enumerate(cells):
        if not cell.skip:  # what a method plans does not depend on the seed
            options = json.dumps(dict(cell.options), sort_keys=True)
            groups.setdefault((cell.method.name, options, cell.spec.but_seed), []).append(place)
    found = stages_of(
        [
            Question(cells[p].method.name, dict(cells[p].options), spec)
            for (*_, spec), (p, *_) in groups.items()
        ],
        registry,
        {name: one.dataset for name, one in prepared.items()},
        [one.folder for one in prepared.values()],
    )
    for places, one in zip(groups.values(), found, strict=True):
        for place, cell in zip(places, _with([cells[p] for p in places], one), strict=True):
            cells[place] = cell
    return cells


def _with(cells: Sequence[PlannedCell], found: Stages) -> list[PlannedCell]:
    """`cells`, which differ in the seed alone, with their stages and keys."""
    first, keys = cells[0], None
    try:
        for stage in found.stages:
            if unknown := sorted(set(stage.reads) - set(first.setting.all)):
                raise PluginError(f"stage {stage.kind} reads {unknown}; the setting has {first.setting.all}")
        keys = first.context.keys_by_seed(found.stages)
    except PmbenchError as error:
        found = failed(first.method.name, error)
    first_key = next(reversed(keys(0)), "") if keys else ""
    return [
        dataclasses.replace(
            cell,
            stages=found.stages,
            keys=tuple(keys(cell.context.seed)) if keys else (),
            first_key=first_key,
            skip=found.skip,
            failure=found.failure,
            trace=found.trace,
        )
        for cell in cells
    ]


def _tested(cell: PlannedCell, prepared: Prepared) -> PlannedCell:
    """`cell`, or a skip if test samples lack a modality on which it is tested."""
    for modality in cell.inputs:
        if lacking := prepared.missing(cell.context.protocol.split.test, modality):
            lack = plural(lacking, "test sample lacks", "test samples lack")
            return dataclasses.replace(cell, skip=f"{lack} {modality!r}")
    return cell


def _too_few(cell: PlannedCell, prepared: Prepared) -> str:
    """The reason why the protocol of a cell cannot draw its labels, or empty."""
    protocol = cell.context.protocol
    if protocol.labels_per_class is None:
        return ""
    return too_few(prepared.class_counts(protocol.split), prepared.dataset.classes, protocol)


def graph_of(cells: Iterable[PlannedCell], store: Store) -> dict[str, PlannedStage]:
    """The stages of cells by key, parents first."""
    nodes: dict[str, PlannedStage] = {}
    lineages: dict[int, list[tuple[StageDocument, ...]]] = {}  # seeds of one cell have the same documents
    for cell in cells:
        own = lineages.get(id(cell.stages)) if cell.keys else None
        if own is None:
            own = [tuple(part_of(cell.stages, place)) for place in range(len(cell.stages))]
            lineages[id(cell.stages)] = own
        for place, key in enumerate(cell.keys):
            if key not in nodes:
                parents = tuple(cell.keys[parent] for parent in cell.stages[place].parents)
                nodes[key] = PlannedStage(key, own[place], cell.spec, cell.context, parents, store.has(key))
    return nodes


def needed(plan: Plan, cells: Iterable[PlannedCell]) -> dict[str, PlannedStage]:
    """Stages to train for `cells`: those not stored, without parents that only stored stages need."""
    wanted: dict[str, PlannedStage] = {}

    def visit(key: str) -> None:
        node = plan.nodes[key]
        if node.stored or key in wanted:
            return
        for parent in node.parents:
            visit(parent)
        wanted[key] = node

    for cell in cells:
        if cell.keys:
            visit(cell.key)
    return wanted
