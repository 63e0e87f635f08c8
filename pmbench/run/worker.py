"""What a worker process does: train one stage, or seal what one delivered."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from ..contracts.stage import Stage
from ..data.prepared import Prepared, open_prepared
from ..errors import PmbenchError, TrainingError
from ..plugins import Registry, load_plugins
from ..processes import leave_with_parent, set_threads
from ..store.keys import CellSpec, Context
from ..store.store import Store


@dataclass(frozen=True)
class Place:
    """Where a run happens."""

    store: Path
    data: Path
    device: str = "cpu"
    devices: int = 1
    threads: int = 1
    data_workers: int = 0


@dataclass(frozen=True)
class Train:
    """Train a stage whose parents are stored."""

    key: str
    stage: Stage
    spec: CellSpec


@dataclass(frozen=True)
class Seal:
    """Seal what a stored stage delivered, as a program of `inputs`."""

    key: str
    stage: Stage
    spec: CellSpec
    inputs: tuple[str, ...]


Task = Train | Seal


@dataclass(frozen=True)
class Done:
    """`busy`: another process is training the stage, nothing was done. `hit`: it was stored already."""

    key: str
    busy: bool = False
    hit: bool = False
    seconds: float = 0.0
    notes: tuple[str, ...] = field(default=())


Report = Callable[[str, int, int], None]
"""Called with (key, epochs done, epochs in all)."""


@lru_cache(maxsize=1)
def registry() -> Registry:
    return load_plugins()


@lru_cache(maxsize=8)
def _prepared(dataset: str, data: Path) -> Prepared:
    return open_prepared(registry().dataset(dataset), data)


@lru_cache(maxsize=64)
def context_of(spec: CellSpec, data: Path) -> Context:
    prepared = _prepared(spec.dataset, data)
    return spec.resolve(prepared.dataset, prepared.fingerprint, registry())


def perform(task: Task, place: Place, report: Report = lambda key, done, total: None) -> Done:
    """Does the task in this process."""
    started = time.perf_counter()
    if isinstance(task, Seal):
        from ..data.access import only
        from ..evaluation.seal import seal

        context, kind = context_of(task.spec, place.data), type(task.stage)
        context.require_key(task.stage, task.key)
        folder = _prepared(task.spec.dataset, place.data).folder
        with only(f"stage {kind.__name__!r} (module {kind.__module__}), being sealed,", [folder], []):
            seal(task.stage, context, Store(place.store), task.inputs)
        return Done(task.key, seconds=time.perf_counter() - started)
    store = Store(place.store)
    with store.lock(task.key) as mine:
        if not mine:
            return Done(task.key, busy=True)
        if store.whole(task.key):
            return Done(task.key, hit=True)
        _train(task, place, report)
    return Done(task.key, seconds=time.perf_counter() - started)


def _train(task: Train, place: Place, report: Report) -> None:
    from ..training.device import make_fabric

    fabric = make_fabric(place.device, place.devices)
    if place.devices > 1:
        told = multiprocessing.get_context("spawn").SimpleQueue()
        try:
            # not as arguments of `launch`, which takes values apart and cannot do that to frozen ones
            fabric.launch(partial(_train_share, task=task, place=place, told=told))
        except Exception:
            if told.empty():
                raise
            raise told.get() from None
    else:
        fabric.launch()
        _train_part(fabric, task, place, report)


def _train_share(fabric: Any, task: Train, place: Place, told: Any) -> None:
    """One of several processes; all leave the process group together, for one that dies with its threads
    still running aborts. `told` gets the error that ended one: who started it sees a text alone.
    """
    import torch

    leave_with_parent()
    try:
        _train_part(fabric, task, place)
    except Exception as error:
        known = isinstance(error, PmbenchError)
        told.put(error if known else TrainingError(f"{type(error).__name__}: {error}"))
        raise
    fabric.barrier()
    torch.distributed.destroy_process_group()


def _train_part(fabric: Any, task: Train, place: Place, report: Report | None = None) -> None:
    """One process's share of a training; the first one stores the result."""
    from ..training.device import accelerator
    from ..training.train import Job, train_stage

    if place.devices > 1:
        set_threads(place.threads)
    context = context_of(task.spec, place.data)
    mixed = context.recipe_of(task.stage).precision != "32"
    train_stage(
        Job(task.key, task.stage, context, _prepared(task.spec.dataset, place.data)),
        Store(place.store),
        accelerator(fabric, mixed),
        data_workers=place.data_workers,
        progress=lambda done, total: report(task.key, done, total) if report else None,
    )
