"""Times a few steps of each kind of stage that was never trained on this machine."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import os
import platform
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import msgspec

from ..errors import PmbenchError, StoreError
from ..files import cache_folder, write_json
from ..plugins import Registry
from ..store.listing import entry_of
from ..store.store import Store
from .estimate import Rate, Rates, Sign, sign_of, sizes
from .executors.child import WorkerDied, make_server
from .executors.local import LocalPool
from .matrix import plan_all
from .plan import Plan, PlannedStage, needed
from .request import Request
from .worker import Resources, Train

STEPS, EPOCHS = 8, 4
"""Steps of an epoch, and epochs, of a timed training. The first epoch is not counted: it warms up."""
Report = Callable[[str, int, int], None]


class Timings:
    """Timed rates by sign, kept in the user's cache for one machine and device."""

    def __init__(self, device: str) -> None:
        machine = [platform.node(), platform.processor(), os.cpu_count(), importlib.metadata.version("torch")]
        name = hashlib.sha256(json.dumps([*machine, device]).encode()).hexdigest()[:16]
        self._path = cache_folder("timings") / f"{name}.json"

    def read(self) -> dict[Sign, list[Rate]]:
        """Empty if there is none, or if the file cannot be read."""
        try:
            found = json.loads(self._path.read_bytes())
            return {tuple(sign): msgspec.convert(rates, list[Rate]) for sign, rates in found}
        except (OSError, ValueError, TypeError, msgspec.ValidationError):
            return {}

    def add(self, rates: Mapping[Sign, list[Rate]]) -> None:
        every = {**self.read(), **rates}
        with contextlib.suppress(StoreError, OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._path, [[sign, [asdict(rate) for rate in own]] for sign, own in every.items()])


def rates_for(
    plan: Plan,
    requests: Sequence[Request],
    registry: Registry,
    resources: Resources,
    *,
    time: bool = False,
    report: Report = lambda what, done, total: None,
) -> tuple[Rates, list[str]]:
    """What steps take, from stored stages and from timings of before; with `time` also from new timings.

    Returns what could not be timed, too, with the reasons. `report` is called with (stage, number done,
    number in all).
    """
    timings, entries = Timings(resources.device), resources.opened().entries()
    rates = Rates(entries, timings.read(), resources.device)
    nodes = needed(plan, plan.cells).values()
    unknown = {sign_of(node) for node in nodes if node.stage.recipe.epochs} - rates.signs
    if not (time and unknown):
        return rates, []
    found, failed = time_stages(unknown, requests, registry, resources, report)
    timings.add(found)
    return Rates(entries, timings.read(), resources.device), failed


def time_stages(
    signs: Iterable[Sign],
    requests: Sequence[Request],
    registry: Registry,
    resources: Resources,
    report: Report = lambda what, done, total: None,
) -> tuple[dict[Sign, list[Rate]], list[str]]:
    """Rates of `signs`, and what could not be timed, with the reasons.

    Stages of these signs, and their parents, train for a few steps in processes of their own, one after the
    other. What they store is removed.
    """
    wanted = set(signs)
    with tempfile.TemporaryDirectory(prefix="pmbench-") as folder:
        place = dataclasses.replace(resources, store=Path(folder))
        store, pretrained = place.opened(), resources.opened().pretrained.absolute()
        if pretrained.is_dir():
            store.pretrained.symlink_to(pretrained)
        short = [dataclasses.replace(r, sets=(*r.sets, f"recipe.epochs={EPOCHS}")) for r in requests]
        plan = plan_all(short, registry, resources.data, store)
        chosen = _chosen(plan, wanted)
        server = make_server(place)
        pool = LocalPool(1, place, plan.prepared, registry, server, values=True)
        found: dict[Sign, list[Rate]] = {}
        failed: dict[str, str] = {}
        try:
            for number, node in enumerate(chosen):
                report(node.stage.kind, number, len(chosen))
                if missing := [key for key in node.parents if key in failed]:
                    failed[node.key] = failed[missing[0]]
                    continue
                try:
                    rates = _timed(node, pool, store)
                except (PmbenchError, WorkerDied) as error:
                    failed[node.key] = f"{node.stage.kind}: {error}"
                    continue
                if rates and sign_of(node) in wanted:
                    found.setdefault(sign_of(node), rates)
        finally:
            pool.kill()
            server.close()
    return found, list(dict.fromkeys(failed.values()))


def _chosen(plan: Plan, wanted: set[Sign]) -> list[PlannedStage]:
    """One stage of each sign, with all ancestors, parents first."""
    nodes = needed(plan, plan.cells)
    first: dict[Sign, str] = {}
    for key, node in nodes.items():
        first.setdefault(sign_of(node), key)
    keep = {key for sign, key in first.items() if sign in wanted}
    for key in reversed(nodes):
        if key in keep:
            keep.update(nodes[key].parents)
    return [node for key, node in nodes.items() if key in keep]


def _timed(node: PlannedStage, pool: LocalPool, store: Store) -> list[Rate]:
    """The rate of each epoch but the first; empty for a stage that trains nothing."""
    result = pool.submit(Train(node.key, node.lineage, node.spec, timed_steps=STEPS), node.context).result()
    epochs = [values.seconds for _, _, _, values in pool.progress() if values is not None]
    stage = store.stage(node.key)
    if len(epochs) < 2:
        return []
    folder = store.folder(node.key)
    size = sum(file.stat().st_size for file in folder.iterdir())
    steps = stage["cost"]["steps"] / len(epochs)
    besides = max(0.0, result.seconds - sum(epochs))
    return [Rate(s / steps, besides, *sizes(entry_of(node.key, stage, size))) for s in epochs[1:]]
