"""Tasks: train a stage, or seal the network that it delivered; in this process or in a child process."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import msgspec

from ..contracts.event import EpochValues
from ..data.prepared import Prepared, open_prepared
from ..errors import PmbenchError, TrainingError, as_answer, from_answer
from ..isolation.forkserver import Answer, add_site_packages
from ..isolation.landlock import Rights
from ..plugins import Registry, load_plugins
from ..plugins.excerpt import loaded
from ..plugins.inside import use_scratch
from ..processes import leave_with_parent, set_threads
from ..store.documents import StageDocument, read_stages
from ..store.keys import CellSpec, Context
from ..store.store import Store
from ..tracebacks import error_text


@dataclass(frozen=True)
class Resources:
    """Folders and devices of a run. `shared` is a store that is only read."""

    store: Path
    data: Path
    device: str = "cpu"
    devices: int = 1
    threads: int = 1
    data_workers: int = 0
    shared: Path | None = None

    def opened(self, *, staged: bool = False) -> Store:
        """The store, above which the shared one is."""
        return Store(self.store, staged, self.shared)

    @property
    def gpu(self) -> bool:
        return self.device.startswith("cuda")


@dataclass(frozen=True)
class Train:
    """Train the last of some stages, whose ancestors, before it, are stored.

    With `timed_steps`, for so many steps of each epoch only: to time them, never into the store of a run.
    """

    key: str
    lineage: tuple[StageDocument, ...]
    spec: CellSpec
    timed_steps: int | None = None

    @property
    def stage(self) -> StageDocument:
        return self.lineage[-1]


@dataclass(frozen=True)
class Seal:
    """Seal the network of the last of some stored stages as a program of `inputs`."""

    key: str
    lineage: tuple[StageDocument, ...]
    spec: CellSpec
    inputs: tuple[str, ...]

    @property
    def stage(self) -> StageDocument:
        return self.lineage[-1]


Task = Train | Seal


@dataclass(frozen=True)
class TaskResult:
    """Result of a task. `busy`: another process trains the stage. `hit`: the stage was stored already."""

    key: str
    busy: bool = False
    hit: bool = False
    seconds: float = 0.0
    notes: tuple[str, ...] = field(default=())


News = tuple[str, int, int, EpochValues | None]
"""(key of a stage, epochs done, epochs, what the last of them measured); None before the first epoch."""
Report = Callable[[str, int, int, Mapping[str, Any] | None], None]
"""Called with news, with the fields of the values."""


def news_of(key: str, done: int, total: int, values: Mapping[str, Any] | None) -> News:
    """The news of a report; raises msgspec.ValidationError for values of other types."""
    return key, done, total, None if values is None else msgspec.convert(values, EpochValues)


def drained(queue: SimpleQueue[News]) -> list[News]:
    """All news in a queue, which is empty then."""
    found = []
    while not queue.empty():
        found.append(queue.get())
    return found


_plugins: Mapping[str, Any] | None = None
"""The excerpt of a registry, and the distributions to load, of a process that has been sent both."""


def use_plugins(values: Mapping[str, Any]) -> None:
    """Lets this process load no other plugins than those of `values`: {"excerpt", "distributions"}."""
    global _plugins
    _plugins = values
    registry.cache_clear()


@lru_cache(maxsize=1)
def registry() -> Registry:
    """The plugins of this process: those that it has been sent, or all."""
    return loaded(_plugins["excerpt"], _plugins["distributions"]) if _plugins else load_plugins()


@lru_cache(maxsize=8)
def _prepared(dataset: str, data: Path) -> Prepared:
    return open_prepared(registry().dataset(dataset), data)


@lru_cache(maxsize=64)
def context_of(spec: CellSpec, data: Path) -> Context:
    prepared = _prepared(spec.dataset, data)
    return spec.resolve(prepared.dataset, prepared.fingerprint, registry())


Work = Callable[[Task, Resources, Report], float]
"""Does a task, in this process or in another one, puts the result into the store, and returns the seconds."""


def perform(
    task: Task, resources: Resources, report: Report = lambda *news: None, work: Work | None = None
) -> TaskResult:
    """Carries out a task under the lock of its stage. `work` is `in_this_process` if it is None."""
    store = resources.opened()
    with store.lock(task.key) as mine:
        if not mine:
            return TaskResult(task.key, busy=True)
        if isinstance(task, Train) and store.finished(task.key):
            return TaskResult(task.key, hit=True)
        seconds = (work or in_this_process)(task, resources, report)
    return TaskResult(task.key, seconds=seconds)


def in_this_process(task: Task, resources: Resources, report: Report, *, staged: bool = False) -> float:
    """Does a task and returns the seconds; with `staged` the result is left for `Store.adopt`."""
    started = time.perf_counter()
    if isinstance(task, Seal):
        _seal(task, resources, staged)
    else:
        _train(task, resources, report, staged)
    return time.perf_counter() - started


def in_child(arguments: Mapping[str, Any], answer: Answer) -> None:
    """The main function of a child process; does the task of `arguments` with the rights that they give."""
    Rights(**arguments["rights"]).apply()
    add_site_packages()
    use_scratch(arguments["scratch"])
    given = arguments["resources"]
    folders = {name: Path(given[name]) for name in ("store", "data", "shared") if given[name]}
    resources = Resources(**{**given, **folders})
    set_threads(resources.threads)
    use_plugins(arguments["plugins"])
    try:
        kind: type[Task] = Seal if "inputs" in arguments["task"] else Train
        task = msgspec.convert(arguments["task"], kind)

        def report(key: str, done: int, total: int, values: Mapping[str, Any] | None) -> None:
            answer({"epochs": [done, total], **({"values": values} if arguments["values"] else {})})

        in_this_process(task, resources, report, staged=True)
        answer({"ok": True})
    except (Exception, SystemExit) as error:
        answer({"error": as_answer(error)})


def _seal(task: Seal, resources: Resources, staged: bool) -> None:
    from ..data.access import only
    from ..evaluation.seal import seal

    context, stage = context_of(task.spec, resources.data), read_stages(task.lineage)[-1]
    context.require_key(stage, task.key)
    folder, kind = _prepared(task.spec.dataset, resources.data).folder, type(stage)
    with only(f"stage {kind.__name__!r} (module {kind.__module__}), being sealed,", [folder], []):
        seal(stage, context, resources.opened(staged=staged), task.inputs)


def _train(task: Train, resources: Resources, report: Report, staged: bool) -> None:
    from ..training.device import make_fabric

    fabric = make_fabric(resources.device, resources.devices)
    if resources.devices > 1:
        spawned = multiprocessing.get_context("spawn")
        errors, (news, sender) = spawned.SimpleQueue(), spawned.Pipe(duplex=False)
        reader = threading.Thread(target=_forward, args=(news, report), daemon=True)
        reader.start()
        try:
            # a partial: `launch` would rebuild its arguments, which fails for frozen dataclasses
            share = partial(
                _train_share,
                task=task,
                resources=resources,
                errors=errors,
                news=sender,
                staged=staged,
                plugins=_plugins,
            )
            fabric.launch(share)
        except Exception as error:
            if errors.empty():
                last = str(error).strip().splitlines()[-1:] or [type(error).__name__]
                raise TrainingError(f"a process of {resources.devices} devices failed: {last[0]}") from error
            raise from_answer(errors.get()) from None
        finally:
            sender.close()
            reader.join()
    else:
        fabric.launch()
        _train_part(fabric, task, resources, staged, report)


def _forward(news: Any, report: Report) -> None:
    """Reports what comes through a pipe until all its other ends are closed."""
    with suppress(EOFError, OSError):
        while True:
            report(*news.recv())


def _train_share(
    fabric: Any,
    task: Train,
    resources: Resources,
    errors: Any,
    news: Any,
    staged: bool,
    plugins: Mapping[str, Any] | None,
) -> None:
    """One of several processes. `errors` receives its exception, of which the parent sees only a text, and
    `news` what the first process reports.

    All processes leave the process group together: one that exits while its threads run would abort.
    """
    import torch

    leave_with_parent()
    add_site_packages()
    if plugins is not None:
        use_plugins(plugins)
    try:
        report = (lambda *told: news.send(told)) if fabric.global_rank == 0 else None
        _train_part(fabric, task, resources, staged, report)
    except Exception as error:
        known = isinstance(error, PmbenchError)
        errors.put(as_answer(error if known else TrainingError(error_text(error))))
        raise
    fabric.barrier()
    torch.distributed.destroy_process_group()


def _train_part(
    fabric: Any, task: Train, resources: Resources, staged: bool, report: Report | None = None
) -> None:
    """The part of one process in a training; rank 0 stores the result."""
    from ..training.device import accelerator
    from ..training.train import Job, train_stage

    if resources.devices > 1:
        set_threads(resources.threads)
    context, stage = context_of(task.spec, resources.data), read_stages(task.lineage)[-1]
    mixed = task.stage.recipe.precision != "32"
    train_stage(
        Job(task.key, stage, context, _prepared(task.spec.dataset, resources.data), task.timed_steps),
        resources.opened(staged=staged),
        accelerator(fabric, mixed),
        data_workers=resources.data_workers,
        progress=lambda *epoch: report(task.key, *epoch) if report else None,
    )
