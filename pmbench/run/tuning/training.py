"""Trains the stages of cells, without sealing or evaluating what comes out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

from ...errors import PmbenchError, StoreError
from ...plugins import Registry
from ...store.store import Store
from ...tracebacks import error_text
from ..coordinator import Watcher
from ..executors.child import WorkerDied, make_server
from ..plan import Plan, PlannedCell, needed
from ..queue import Queue
from ..worker import Resources, TaskResult, Train


class Trainer:
    """A pool of processes that trains the stages of one plan after the other, all of one data set."""

    def __init__(
        self,
        registry: Registry,
        resources: Resources,
        workers: int,
        watcher: Watcher,
        make_pool: Callable[..., Any],
    ) -> None:
        self.registry, self.resources, self.workers = registry, resources, workers
        self.watcher, self.make_pool = watcher, make_pool
        self.store = Store(resources.store)
        self.server = make_server(resources)
        self.pool: Any = None
        self._died: set[str] = set()

    def __enter__(self) -> Trainer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.pool is not None:
            self.pool.close() if kind is None else self.pool.kill()
        self.server.close()

    def train(
        self, plan: Plan, cells: Sequence[PlannedCell], after: Callable[[dict[str, str]], None]
    ) -> dict[str, str]:
        """Trains what is not stored; returns the stages that failed, and those behind them, with the reason.

        `after` is called first, and when a stage has ended, with what has failed so far. Raises StoreError
        where nothing can be stored, or if a process dies twice: the same command resumes then.
        """
        for key in {key for cell in cells for key in cell.keys}:
            node = plan.nodes[key]
            node.stored = node.stored and self.store.finished(key)
        wanted = needed(plan, cells)
        failed: dict[str, str] = {}
        after(failed)
        queue = Queue(wanted, [])
        running: dict[Future[TaskResult], Train] = {}
        self.watcher.begin(len(wanted), len(cells))
        if wanted and self.pool is None:
            if self.workers:
                self.server.launch()
            self.pool = self.make_pool(
                self.workers, self.resources, plan.prepared, self.registry, self.server
            )
        while queue.open or running:
            while len(running) < max(1, self.workers) and (task := queue.next_task()):
                assert isinstance(task, Train), "a queue without cells has nothing to seal"
                self.watcher.started(plan.nodes[task.key])
                running[self.pool.submit(task, plan.nodes[task.key].context)] = task
            if running:
                ended, _ = wait(running, timeout=0.1, return_when=FIRST_COMPLETED)
            else:
                ended = set()
                if stuck := queue.stuck():
                    self.watcher.waiting(plan.nodes[stuck.key])
                time.sleep(0.2)  # another run trains what is left
            if not running:
                queue.release()
            for key, done, total, _ in self.pool.progress():
                self.watcher.epoch(key, done, total)
            for future in ended:
                self._ended(running.pop(future), future, queue, plan, failed)
                after(failed)
        return failed

    def _ended(
        self, task: Train, future: Future[TaskResult], queue: Queue, plan: Plan, failed: dict[str, str]
    ) -> None:
        node = plan.nodes[task.key]
        try:
            done = future.result()
        except WorkerDied as died:
            if task.key in self._died:
                raise StoreError(
                    f"the process of stage {task.stage.kind} died twice ({died})",
                    "it may be out of memory: lower --workers or the batch size; the same command resumes",
                ) from died
            self._died.add(task.key)
            queue.postpone(task)
            return
        except StoreError:
            raise
        except Exception as error:
            reason = error.message if isinstance(error, PmbenchError) else error_text(error)
            self.watcher.failed(node, reason)
            failed |= dict.fromkeys((task.key, *queue.fail(task.key)), reason)
            return
        if done.busy:
            queue.postpone(task, busy=True)
            return
        node.stored = True
        self.watcher.trained(node, done.seconds, done.hit)
        queue.complete(task)
