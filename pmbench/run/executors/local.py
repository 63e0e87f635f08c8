"""A pool of processes on this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from ...processes import leave_with_parent, set_threads
from ..worker import Resources, Task, TaskResult, perform

_progress: Any = None


def _start(queue: Any, threads: int) -> None:
    """Initializes a worker: sets threads before torch computes, and leaves Ctrl-C to the parent."""
    global _progress
    _progress = queue
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(2, 1)  # standard output belongs to the command
    leave_with_parent()
    set_threads(threads)


def _perform(task: Task, resources: Resources) -> TaskResult:
    try:
        return perform(task, resources, lambda key, done, total: _progress.put((key, done, total)))
    except Exception as error:
        _clear_frames(error)
        raise


def _clear_frames(error: BaseException | None) -> None:
    """Clears the frames of an error. The pool keeps the error, and its frames hold GPU memory."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


class LocalPool:
    """`workers` processes for the whole run; `progress()` returns new (key, epochs done, epochs)."""

    def __init__(self, workers: int, resources: Resources) -> None:
        self.workers, self.resources = workers, resources
        context = multiprocessing.get_context("spawn")
        self._queue: Any = context.SimpleQueue()
        self._pool = ProcessPoolExecutor(workers, context, _start, (self._queue, resources.threads))

    def submit(self, task: Task) -> Future[TaskResult]:
        return self._pool.submit(_perform, task, self.resources)

    def progress(self) -> list[tuple[str, int, int]]:
        found = []
        while not self._queue.empty():
            found.append(self._queue.get())
        return found

    def kill(self) -> None:
        """Kills all workers. Their stages resume from checkpoints in the next run."""
        for process in list((self._pool._processes or {}).values()):
            process.kill()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


BrokenPool = BrokenProcessPool
