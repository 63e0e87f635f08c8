"""Runs tasks one after the other in the calling process, for debuggers."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from ...data.prepared import Prepared
from ...isolation.forkserver import Forkserver
from ...plugins import Registry
from ...processes import set_threads
from ...store.keys import Context
from ..worker import News, Resources, Task, TaskResult, news_of, perform


class Inline:
    """The interface of LocalPool for `--workers 0`."""

    exclusive = True
    """Nothing else may run beside a task, as this process may not open other files meanwhile."""

    def __init__(
        self,
        workers: int,
        resources: Resources,
        prepared: Mapping[str, Prepared],
        registry: Registry,
        server: Forkserver,
    ) -> None:
        set_threads(resources.threads)
        self.resources = resources
        self._progress: list[News] = []

    def submit(self, task: Task, context: Context) -> Future[TaskResult]:
        def report(key: str, done: int, total: int, values: Mapping[str, Any] | None) -> None:
            self._progress.append(news_of(key, done, total, values))

        future: Future[TaskResult] = Future()
        try:
            with contextlib.redirect_stdout(sys.stderr):  # standard output belongs to the command
                future.set_result(perform(task, self.resources, report))
        except Exception as error:
            future.set_exception(error)
        return future

    def progress(self) -> list[News]:
        news, self._progress = self._progress, []
        return news

    def kill(self) -> None:
        pass

    def close(self) -> None:
        pass
