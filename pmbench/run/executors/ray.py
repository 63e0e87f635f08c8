"""Tasks of a run on a Ray cluster that the user has started.

A Ray task carries out a stage as a local run does: it takes the lock of the stage, starts a child process
with the rights of the stage alone, and stores what that leaves. Names, keys and paths travel, never tensors.
The store tells what is finished, so a task that is lost with its node is given to another one, which goes on
from the checkpoint.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import signal
import socket
import threading
import uuid
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from ...data.prepared import Prepared
from ...errors import PmbenchError, UsageError, from_answer, plural
from ...files import check_writable, file_digest
from ...isolation import landlock
from ...isolation.forkserver import Forkserver
from ...plugins import Registry
from ...store.keys import Context
from ..worker import News, Resources, Task, TaskResult, Train, drained, news_of
from .child import WorkerDied, job_of
from .node import Expected, carry_out, look, software

REACH, ANSWER = 5.0, 120.0
"""Seconds in which a cluster has to be reached, and in which each node has to answer a first task."""
_SAME = "all nodes need one store, one folder of data and one Python environment at the same paths"


class NodeLost(WorkerDied):
    """A node, or the Ray process on it, ended before it had finished a task."""

    retries = 3


class Cluster:
    """A connection to a running cluster, with the nodes that fit a run."""

    def __init__(self, ray: Any, address: str) -> None:
        self.ray, self.address = ray, address
        self.expected: Expected | None = None
        self.landlock = True
        """Whether the kernels of all nodes isolate the code of plugins."""

    @classmethod
    def connect(cls, address: str | None) -> Cluster:
        """Joins the cluster at HOST:PORT, or the one that runs on this machine.

        Raises UsageError within seconds if Ray is not installed or the cluster cannot be reached.
        """
        if importlib.util.find_spec("ray") is None:
            raise UsageError(
                "--executor ray needs the package ray, which is not installed",
                "python -m pip install 'pmbench[ray]', on all nodes",
            )
        address = address or os.environ.get("RAY_ADDRESS") or "auto"
        if address != "auto":
            _reach(address)
        # by default Ray starts workers of a driver under `uv run` by `uv run`, from a copy of its folder
        os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
        import ray

        handler = signal.getsignal(signal.SIGTERM)
        failed: list[BaseException] = []

        def join() -> None:
            try:
                ray.init(address, log_to_driver=False, logging_level=logging.ERROR, ignore_reinit_error=True)
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(
            target=join, daemon=True
        )  # it may wait for minutes, and cannot be told not to
        thread.start()
        thread.join(6 * REACH)
        if thread.is_alive() or failed:
            reason = str(failed[0]).strip().splitlines()[0] if failed else "it does not answer"
            raise UsageError(
                f"no Ray cluster at {address!r}: {reason}",
                "start one with `ray start --head`, and run pmbench on a node of it",
            )
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)
        return cls(ray, address)

    def device(self, name: str) -> str:
        """Resolves `auto` to cuda if the cluster has GPUs."""
        if name == "auto":
            return "cuda" if self.ray.cluster_resources().get("GPU") else "cpu"
        if name not in ("cpu", "cuda"):
            raise UsageError(
                f"--device {name!r} with --executor ray", "Ray chooses the GPU: give cpu, cuda or auto"
            )
        return name

    def prepare(
        self, resources: Resources, gpu_share: float, workers: int | None, prepared: Mapping[str, Prepared]
    ) -> int:
        """Checks the nodes for a run; returns how many stages to train side by side, `workers` if given."""
        slots = self.slots(needs_of(Train, resources, gpu_share))
        self.check(resources.store, prepared)
        return slots if workers is None else workers

    def slots(self, needs: Mapping[str, float]) -> int:
        """How many tasks with these needs the cluster can run side by side; raises UsageError for none."""
        found = 0
        for node in self._nodes():
            has = {"num_cpus": node["Resources"].get("CPU", 0), "num_gpus": node["Resources"].get("GPU", 0)}
            found += min(int(has[name] / number + 1e-6) for name, number in needs.items() if number)
        if not found:
            raise UsageError(
                f"no node of the Ray cluster has {needs['num_cpus']:g} CPUs and {needs['num_gpus']:g} GPUs",
                "lower --threads, --devices or --gpu-share; `ray status` shows the nodes",
            )
        return found

    def check(self, store: Path, prepared: Mapping[str, Prepared]) -> None:
        """Lets every node look at store, data and software; raises UsageError if one does not fit."""
        store = store.absolute()
        check_writable(store)
        probe = store / f".ray-{uuid.uuid4().hex}.tmp"
        probe.write_text(probe.name, encoding="ascii")
        manifests = [p.folder.absolute() / "manifest.json" for p in prepared.values()]
        self.expected = Expected(probe, {path: file_digest(path) for path in manifests}, software())
        nodes, answers = self._nodes(), []
        for node in nodes:
            there = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
                node["NodeID"], soft=False
            )
            remote = self.ray.remote(look).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
            answers.append(remote.remote(self.expected))
        self.ray.wait(answers, num_returns=len(answers), timeout=ANSWER)
        found = []
        for node, answer in zip(nodes, answers, strict=True):
            name = f"node {node['NodeManagerAddress']} ({node['NodeID'][:8]})"
            try:
                told = self.ray.get(answer, timeout=1)
            except self.ray.exceptions.RayError as error:
                found.append(f"{name} does not answer: {_first_line(error)}")
                continue
            written = Path(told["written"])
            if not told["problems"] and not written.exists():
                told["problems"].append(f"what it writes to {written.parent} does not arrive here")
            written.unlink(missing_ok=True)
            found += [f"{name}: {problem}" for problem in told["problems"]]
            self.landlock &= bool(told["landlock"])
        self.landlock &= bool(landlock.version())
        if found:
            raise UsageError(f"{plural(len(found), 'problem')} of the cluster: {'; '.join(found)}", _SAME)

    def close(self) -> None:
        """Leaves the cluster."""
        if self.expected is not None:
            self.expected.probe.unlink(missing_ok=True)
        self.ray.shutdown()

    def _nodes(self) -> list[dict[str, Any]]:
        return [node for node in self.ray.nodes() if node["Alive"]]


def needs_of(kind: type[Task], resources: Resources, gpu_share: float) -> dict[str, float]:
    """CPUs and GPUs that Ray reserves for a task. A program is sealed without a GPU."""
    gpus: float = 0
    if resources.gpu and kind is Train:
        gpus = resources.devices if resources.devices > 1 else gpu_share
    return {"num_cpus": resources.threads * resources.devices, "num_gpus": gpus}


class RayPool:
    """The interface of LocalPool for tasks on the nodes of a cluster that has been checked."""

    exclusive = False

    def __init__(
        self,
        cluster: Cluster,
        gpu_share: float,
        workers: int,
        resources: Resources,
        prepared: Mapping[str, Prepared],
        registry: Registry,
        server: Forkserver,
    ) -> None:
        self.cluster, self.gpu_share = cluster, gpu_share
        self.resources, self.prepared, self.registry = resources, prepared, registry
        # no retries by Ray: a lost task returns to the queue of the run
        self._remote = cluster.ray.remote(max_retries=0, num_returns="streaming")(carry_out)
        self._progress: SimpleQueue[News] = SimpleQueue()
        self._running: set[Any] = set()

    def submit(self, task: Task, context: Context) -> Future[TaskResult]:
        future: Future[TaskResult] = Future()

        def follow() -> None:
            try:
                future.set_result(self._follow(task, context))
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=follow, daemon=True).start()
        return future

    def progress(self) -> list[News]:
        return drained(self._progress)

    def kill(self) -> None:
        """Kills all tasks and their processes. Their stages resume from checkpoints in the next run."""
        for answers in list(self._running):
            with contextlib.suppress(Exception):
                self.cluster.ray.cancel(answers, force=True)

    def close(self) -> None:
        pass

    def _follow(self, task: Task, context: Context) -> TaskResult:
        """Starts a Ray task and waits for its end. Raises what it raised, and NodeLost."""
        ray, job = self.cluster.ray, job_of(task, context, self.resources, self.prepared, self.registry)
        needs = needs_of(type(task), self.resources, self.gpu_share)
        answers = self._remote.options(name=f"{task.stage.kind} {task.key[:12]}", **needs).remote(
            job, self.cluster.expected
        )
        self._running.add(answers)
        told: Mapping[str, Any] = {}
        try:
            for answer in answers:
                told = ray.get(answer)
                if "epochs" in told:
                    done, total = told["epochs"]
                    self._progress.put(news_of(task.key, done, total, told["values"]))
        except ray.exceptions.RayTaskError as error:
            raise PmbenchError(f"a Ray task failed: {_first_line(error.cause or error)}") from error
        except ray.exceptions.RayError as lost:
            raise NodeLost(_first_line(lost)) from lost
        finally:
            self._running.discard(answers)
        if "error" in told:
            raise from_answer(told["error"])
        if "result" not in told:
            raise WorkerDied(told.get("died", "its node sent no result"))
        return TaskResult(**told["result"])


def _reach(address: str) -> None:
    """Raises UsageError unless something listens at HOST:PORT."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in address:
        raise UsageError(
            f"--address {address!r} is no address of a cluster", "give HOST:PORT, as `ray start` prints it"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH).close()
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"no Ray cluster at {address}: {error}", "is `ray start --head` running there, and its port open?"
        ) from error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
