"""Child processes on this machine, one for each task."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

from ...data.prepared import Prepared
from ...isolation.forkserver import Child, Forkserver
from ...plugins import Registry
from ...store.keys import Context
from ..worker import News, Report, Resources, Task, TaskResult, drained, news_of, perform
from .child import do, job_of


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
        values: bool = False,
    ) -> None:
        self.resources, self.prepared, self.registry = resources, prepared, registry
        self._server, self._values = server, values
        self._threads = ThreadPoolExecutor(workers, "pmbench-task")
        self._progress: SimpleQueue[News] = SimpleQueue()
        self._children: set[Child] = set()

    def submit(self, task: Task, context: Context) -> Future[TaskResult]:
        def work(task: Task, resources: Resources, report: Report) -> float:
            job = job_of(task, context, resources, self.prepared, self.registry, self._values)
            return do(job, self._server, self._children, report)

        def report(key: str, done: int, total: int, values: Mapping[str, Any] | None) -> None:
            self._progress.put(news_of(key, done, total, values))

        return self._threads.submit(perform, task, self.resources, report, work)

    def progress(self) -> list[News]:
        return drained(self._progress)

    def kill(self) -> None:
        """Kills all processes. Their stages resume from checkpoints in the next run."""
        for child in list(self._children):
            child.kill()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
