"""Child processes on this machine, one for each task."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from queue import SimpleQueue
from typing import Any

import msgspec

from ...contracts.event import EpochValues
from ...data.prepared import Prepared
from ...errors import PluginError, from_answer
from ...evaluation import evaluator
from ...isolation import rights
from ...isolation.forkserver import Child, ChildError, Forkserver, Usage
from ...plugins import Registry
from ...plugins.excerpt import excerpt
from ...store.keys import Context
from ...store.store import Store
from ..listeners import EPOCH
from ..worker import News, Report, Resources, Seal, Task, TaskResult, Train, perform

_PRELOAD = (
    *("pmbench.run.worker", "pmbench.training.train", "pmbench.evaluation.seal", "lightning_fabric"),
    "pmbench.plugins.registry:entry_points",
    *evaluator.PRELOAD,
)
_ENVIRONMENT = (
    *("PATH", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "LANG", "LC_ALL", "HOME"),
    *(
        "LD_LIBRARY_PATH",
        "CUDA_VISIBLE_DEVICES",
        "CUDA_HOME",
        "NVIDIA_VISIBLE_DEVICES",
        "CUBLAS_WORKSPACE_CONFIG",
    ),
    *("NCCL_DEBUG", "NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "TORCH_NCCL_ASYNC_ERROR_HANDLING"),
)
"""Environment variables that processes which run plugins receive."""


def make_server(resources: Resources) -> Forkserver:
    """The server of all processes of a run, those that train and those that run programs."""
    return Forkserver(_PRELOAD, _environment(resources))


def _environment(resources: Resources) -> dict[str, str]:
    """All environment variables of processes that run plugins."""
    threads = {f"{name}_NUM_THREADS": str(resources.threads) for name in ("OMP", "MKL", "OPENBLAS")}
    return {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ} | threads


class WorkerDied(Exception):
    """A process ended before it had finished its task."""


class LocalPool:
    """Runs up to `workers` tasks side by side; `progress()` returns the news since its last call."""

    exclusive = False

    def __init__(
        self,
        workers: int,
        resources: Resources,
        prepared: Mapping[str, Prepared],
        registry: Registry,
        server: Forkserver,
    ) -> None:
        self.resources, self.prepared, self.registry = resources, prepared, registry
        self._server = server
        self._threads = ThreadPoolExecutor(workers, "pmbench-task")
        self._progress: SimpleQueue[News] = SimpleQueue()
        self._values = any(EPOCH in hooks for hooks in registry.hooks.values())
        self._children: set[Child] = set()

    def submit(self, task: Task, context: Context) -> Future[TaskResult]:
        def work(task: Task, resources: Resources, report: Report) -> float:
            return self._work(task, context, report)

        def report(key: str, done: int, total: int, values: Mapping[str, Any] | None) -> None:
            measured = None if values is None else msgspec.convert(values, EpochValues)
            self._progress.put((key, done, total, measured))

        return self._threads.submit(perform, task, self.resources, report, work)

    def progress(self) -> list[News]:
        found = []
        while not self._progress.empty():
            found.append(self._progress.get())
        return found

    def kill(self) -> None:
        """Kills all processes. Their stages resume from checkpoints in the next run."""
        for child in list(self._children):
            child.kill()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _work(self, task: Task, context: Context, report: Report) -> float:
        """Does a task in a child process, and adopts what it leaves in the folder of the unfinished stage."""
        store = Store(self.resources.store)
        scratch = store.work(task.key) / "tmp"
        scratch.mkdir(parents=True, exist_ok=True)
        resources = {**asdict(self.resources), "store": str(store.root), "data": str(self.resources.data)}
        arguments = {
            "task": asdict(task),
            "rights": asdict(self._rights(task, context, store)),
            "resources": resources,
            "plugins": self._plugins(task, context),
            "scratch": str(scratch),
            "values": self._values,
        }
        usage = self._run(task, arguments, report)
        shutil.rmtree(scratch, ignore_errors=True)
        if isinstance(task, Seal):
            store.adopt_program(task.key, task.inputs)
        else:
            store.adopt(task.key, lambda stage: _add_usage(stage, usage))
        return usage.seconds

    def _run(self, task: Task, arguments: Mapping[str, Any], report: Report) -> Usage:
        try:
            environment = _environment(self.resources)
            child = self._server.start("pmbench.run.worker:in_child", arguments, environment=environment)
        except ChildError as broken:
            raise WorkerDied(str(broken)) from broken
        self._children.add(child)
        told: Mapping[str, Any] = {}
        try:
            for told in child.answers():
                if "epochs" in told:
                    done, total = told["epochs"]
                    report(task.key, int(done), int(total), told.get("values"))
            usage = child.wait()
        except ChildError as broken:
            raise WorkerDied(str(broken)) from broken
        except (TypeError, ValueError, msgspec.ValidationError) as odd:
            raise PluginError(f"the process of stage {task.stage.kind} sent {told}") from odd
        finally:
            child.kill()
            self._children.discard(child)
        if isinstance(told.get("error"), dict):
            raise from_answer(told["error"])
        if told.get("ok") is not True:
            raise WorkerDied(f"exit code {usage.code}")
        return usage

    def _plugins(self, task: Task, context: Context) -> dict[str, Any]:
        """Declarations that the process of a task needs, and the distributions that it loads."""
        dataset = context.dataset
        others = [name for document in task.lineage for name in document.backbones]
        names = sorted({*others, *(name for _, name in task.spec.backbones)})
        owners = {self.registry.offer("backbone", name).distribution for name in names}
        owners.add(self.registry.offer("metric", context.metrics[0].name).distribution)
        if dataset.augments:
            owners.add(self.registry.offer("dataset", dataset.name).distribution)
        metrics = context.protocol.metrics
        return {
            "excerpt": excerpt(self.registry, {dataset.name: dataset}, names, metrics),
            "distributions": sorted(owners),
        }

    def _rights(self, task: Task, context: Context, store: Store) -> rights.Rights:
        """What the process of a task may open."""
        prepared = self.prepared[task.spec.dataset]
        if isinstance(task, Train):
            names = (*task.stage.reads, "labels", "index")
            data = [path for part in context.training_parts for path in prepared.files(part, names)]
            keys = context.keys(task.lineage)
            stages = [store.folder(keys[parent]) for parent in task.stage.parents]
        else:
            data, stages = [], [store.folder(task.key)]
        parts = [entry["files"]["index"]["file"] for entry in prepared.manifest["parts"].values()]
        weights = [store.pretrained / f"{w.digest}.safetensors" for _, w in task.spec.weights]
        sources = [p.dataset.find_source() for p in self.prepared.values()]
        return rights.of_code(
            read=(
                *data,
                *stages,
                *weights,
                prepared.folder / "manifest.json",
                *(prepared.folder / part for part in parts),
            ),
            write=(store.work(task.key),),
            hidden=[path for path in sources if path is not None and path.suffix != ".py"],
            gpu=self.resources.gpu,
            processes=self.resources.devices,
        )


def _add_usage(stage: dict[str, Any], usage: Usage) -> None:
    """Adds what the process used, as its parent measured it, to the cost of a stage."""
    stage["cost"] |= {
        "process_seconds": round(usage.seconds, 3),
        "cpu_seconds": round(usage.cpu_seconds, 3),
        "peak_bytes": usage.peak_bytes,
    }
