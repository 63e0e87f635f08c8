"""A task in a child process of this machine, with the rights of the task and no others."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from ...data.prepared import Prepared
from ...errors import PluginError, from_answer
from ...evaluation import evaluator
from ...isolation import rights
from ...isolation.forkserver import Child, ChildError, Forkserver, Usage
from ...plugins import Registry
from ...plugins.excerpt import excerpt
from ...store.keys import Context
from ...training.pretrained import Library
from ..listeners import EPOCH
from ..worker import Report, Resources, Seal, Task, Train

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


FOLDERS = ("store", "data", "shared")
"""Fields of Resources that are paths."""


class WorkerDied(Exception):
    """A process ended before it had finished its task. The task is tried again up to `retries` times."""

    retries = 1


@dataclass(frozen=True)
class Job:
    """A task and what its process needs, as plain values: it can be done on any machine that sees the paths.

    `plugins` are declarations, and the distributions to load. The process may read `read`; of the packages
    that it imports it does not see the data files `hidden`. With `values` it reports what epochs measured.
    """

    task: Task
    resources: Resources
    plugins: Mapping[str, Any]
    read: tuple[Path, ...]
    hidden: tuple[Path, ...]
    values: bool


def job_of(
    task: Task,
    context: Context,
    resources: Resources,
    prepared: Mapping[str, Prepared],
    registry: Registry,
    values: bool = False,
) -> Job:
    """The job of a task of a run with these prepared data sets.

    Its process reports what epochs measured with `values`, or if a plugin listens.
    """
    folders = {n: path.absolute() for n in FOLDERS if (path := getattr(resources, n)) is not None}
    resources = replace(resources, **folders)
    sources = [p.dataset.find_source() for p in prepared.values()]
    return Job(
        task=task,
        resources=resources,
        plugins=_plugins(task, context, registry),
        read=tuple(path.absolute() for path in _files(task, context, prepared[task.spec.dataset], resources)),
        hidden=tuple(path for path in sources if path is not None and path.suffix != ".py"),
        values=values or any(EPOCH in hooks for hooks in registry.hooks.values()),
    )


def _files(task: Task, context: Context, prepared: Prepared, resources: Resources) -> list[Path]:
    """Files and folders that the process of a task may read."""
    store = resources.opened()
    if isinstance(task, Train):
        names = (*task.stage.reads, "labels", "index")
        data = [path for part in context.training_parts for path in prepared.files(part, names)]
        keys = context.keys(task.lineage)
        stages = [store.folder(keys[parent]) for parent in task.stage.parents]
    else:
        data, stages = [], [store.folder(task.key)]
    parts = [entry["files"]["index"]["file"] for entry in prepared.manifest["parts"].values()]
    return [
        *data,
        *stages,
        *(Library.of(store).path(w.digest) for _, w in task.spec.weights),
        prepared.folder / "manifest.json",
        *(prepared.folder / part for part in parts),
    ]


def _plugins(task: Task, context: Context, registry: Registry) -> dict[str, Any]:
    """Declarations that the process of a task needs, and the distributions that it loads."""
    dataset = context.dataset
    others = [name for document in task.lineage for name in document.backbones]
    names = sorted({*others, *(name for _, name in task.spec.backbones)})
    owners = {registry.offer("backbone", name).distribution for name in names}
    owners.add(registry.offer("metric", context.metrics[0].name).distribution)
    if dataset.augments:
        owners.add(registry.offer("dataset", dataset.name).distribution)
    metrics = context.protocol.metrics
    return {
        "excerpt": excerpt(registry, {dataset.name: dataset}, names, metrics),
        "distributions": sorted(owners),
    }


def do(job: Job, server: Forkserver, children: set[Child], report: Report) -> float:
    """Does a job in a child process of `server`, and stores what it leaves; returns its seconds.

    The lock of the stage is held by the caller. `children` has the child while it runs. Raises WorkerDied.
    """
    task, store = job.task, job.resources.opened()
    scratch = store.work(task.key) / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    resources = asdict(job.resources)
    resources |= {n: str(path) for n in FOLDERS if (path := resources[n]) is not None}
    allowed = rights.of_code(
        read=job.read,
        write=(store.work(task.key),),
        hidden=job.hidden,
        gpu=job.resources.gpu,
        processes=job.resources.devices,
    )
    arguments = {
        "task": asdict(task),
        "rights": asdict(allowed),
        "resources": resources,
        "plugins": job.plugins,
        "scratch": str(scratch),
        "values": job.values,
    }
    usage = _run(job, arguments, server, children, report)
    shutil.rmtree(scratch, ignore_errors=True)
    if isinstance(task, Seal):
        store.adopt_program(task.key, task.inputs)
    else:
        store.adopt(task.key, lambda stage: _add_usage(stage, usage))
    return usage.seconds


def _run(
    job: Job, arguments: Mapping[str, Any], server: Forkserver, children: set[Child], report: Report
) -> Usage:
    task = job.task
    try:
        environment = _environment(job.resources)
        child = server.start("pmbench.run.worker:in_child", arguments, environment=environment)
    except ChildError as broken:
        raise WorkerDied(str(broken)) from broken
    children.add(child)
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
        children.discard(child)
    if isinstance(told.get("error"), dict):
        raise from_answer(told["error"])
    if told.get("ok") is not True:
        raise WorkerDied(f"exit code {usage.code}")
    return usage


def _add_usage(stage: dict[str, Any], usage: Usage) -> None:
    """Adds what the process used, as its parent measured it, to the cost of a stage."""
    stage["cost"] |= {
        "process_seconds": round(usage.seconds, 3),
        "cpu_seconds": round(usage.cpu_seconds, 3),
        "peak_bytes": usage.peak_bytes,
    }
