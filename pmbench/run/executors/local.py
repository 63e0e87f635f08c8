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
from ..worker import Done, Place, Task, perform

_progress: Any = None


def _start(queue: Any, threads: int) -> None:
    """Runs first in every worker: threads are set before torch computes; Ctrl-C is the parent's to handle."""
    global _progress
    _progress = queue
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(2, 1)  # standard output is the command's own
    leave_with_parent()
    set_threads(threads)


def _perform(task: Task, place: Place) -> Done:
    try:
        return perform(task, place, lambda key, done, total: _progress.put((key, done, total)))
    except Exception as error:
        _let_go(error)
        raise


def _let_go(error: BaseException | None) -> None:
    """Empties the frames that an error passed: the pool keeps it, and with it the networks and batches of its
    stage, whose memory on the GPU the next stage wants.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


class LocalPool:
    """`workers` processes that stay for the whole run; `progress()` drains (key, epochs done, epochs)."""

    def __init__(self, workers: int, place: Place) -> None:
        self.workers, self.place = workers, place
        context = multiprocessing.get_context("spawn")
        self._queue: Any = context.SimpleQueue()
        self._pool = ProcessPoolExecutor(workers, context, _start, (self._queue, place.threads))

    def submit(self, task: Task) -> Future[Done]:
        return self._pool.submit(_perform, task, self.place)

    def progress(self) -> list[tuple[str, int, int]]:
        found = []
        while not self._queue.empty():
            found.append(self._queue.get())
        return found

    def kill(self) -> None:
        """Ends all workers at once; what they were doing goes on from its last checkpoint the next time."""
        for process in list((self._pool._processes or {}).values()):
            process.kill()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


BrokenPool = BrokenProcessPool
