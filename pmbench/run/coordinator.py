"""Executes a plan: trains missing stages, seals, evaluates, scores and writes records."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from ..contracts.event import Epoch, EpochValues
from ..data.prepared import Prepared
from ..errors import PmbenchError, RecordError, StoreError, Unsupported
from ..evaluation.evaluator import EvaluationRequest, Evaluator
from ..evaluation.scoring import needs_features, score_epochs
from ..files import check_writable, file_digest, sweep
from ..isolation.forkserver import Forkserver
from ..plugins import Registry
from ..report.record import Record
from ..report.record_files import read_record, write_record
from ..store.keys import digest
from ..tracebacks import error_text, trace_of
from .executors.child import WorkerDied, make_server
from .executors.local import LocalPool
from .joining import Writer, place
from .listeners import Listeners
from .plan import Plan, PlannedCell, PlannedStage, needed
from .queue import Queue
from .recording import Recorder
from .worker import Resources, Seal, Task, TaskResult, Train

_LOOK_AGAIN = 1.0
"""Seconds after which tasks that another process worked on are tried again."""


class Watcher(Protocol):
    """Receives the progress of a run."""

    def begin(self, stages: int, cells: int) -> None: ...
    def started(self, node: PlannedStage) -> None: ...
    def waiting(self, node: PlannedStage) -> None: ...
    def epoch(self, key: str, done: int, total: int) -> None: ...
    def trained(self, node: PlannedStage, seconds: float, hit: bool) -> None: ...
    def failed(self, node: PlannedStage, reason: str) -> None: ...
    def cell(self, record: Record, reused: bool) -> None: ...


@dataclass
class Outcome:
    """Records of a run in the order of its cells, and the tracebacks of its failures, each once.

    `left` is the number of cells whose records another process of the run writes; they are not in `records`.
    """

    records: list[Record] = field(default_factory=list)
    traces: list[str] = field(default_factory=list)
    trained: int = 0
    reused: int = 0
    left: int = 0

    @property
    def failed(self) -> list[Record]:
        return [r for r in self.records if r.status == "failed"]


@dataclass
class Runner:
    """One run. `execute()` may be called again after any interruption."""

    plan: Plan
    registry: Registry
    resources: Resources
    out: Path
    workers: int
    recorder: Recorder
    watcher: Watcher
    make_pool: Callable[[int, Resources, Mapping[str, Prepared], Registry, Forkserver], Any] = LocalPool
    evaluation_device: str = ""
    """Where programs run, if not on the device of the stages."""
    join: bool = False
    """Whether the same command runs in other processes, one of which evaluates and writes."""

    def __post_init__(self) -> None:
        self.store = self.resources.opened()
        self.server = make_server(self.resources)
        self.evaluator = Evaluator(self.server)
        self.listeners = Listeners(self.registry, self.out)
        self.reasons: dict[str, Exception] = {}
        self.fresh: dict[str, float] = {}
        self.lost: Counter[str] = Counter()
        self.traces: dict[str, None] = {}
        self.writer: Writer | None = None
        self.aside: list[PlannedCell] = []

    def execute(self) -> Outcome:
        """Trains, seals and evaluates. A failure becomes a record with its reason; other cells continue."""
        finished = {id(cell): record for cell in self.plan.cells if (record := self._kept(cell))}
        open_cells = [cell for cell in self.plan.cells if id(cell) not in finished]
        self._check_stored(open_cells)
        wanted = needed(self.plan, open_cells)
        check_writable(self.out)
        sweep(self.out)
        if wanted:
            check_writable(self.store.root)
        self.watcher.begin(len(wanted), len(self.plan.cells))
        for cell in self.plan.cells:
            if id(cell) in finished:
                self.store.note_method(cell.keys, cell.method.name)
                self.watcher.cell(finished[id(cell)], True)
        outcome = Outcome(reused=len(finished))
        if self.join and open_cells:
            self.writer = Writer(self.out, {cell.identity for cell in self.plan.cells})
        pool: Any = None
        helper = ThreadPoolExecutor(1)
        try:
            if any(c.keys for c in open_cells):
                self.server.launch()
            queue = Queue(wanted, open_cells, place() if self.join else 0.0)
            running: dict[Future[Any], Any] = {}
            look_again = 0.0
            while queue.open or running or self._takes_over(queue):
                self._start_ready(queue, helper, running, finished)
                while self._busy(running) < max(1, self.workers) and (task := queue.next_task()):
                    pool = pool or self.make_pool(
                        self.workers, self.resources, self.plan.prepared, self.registry, self.server
                    )
                    if pool.exclusive:
                        wait(running)
                    if isinstance(task, Train):
                        self.watcher.started(self.plan.nodes[task.key])
                    running[pool.submit(task, self.plan.nodes[task.key].context)] = task
                if running:
                    ended, _ = wait(running, timeout=0.1, return_when=FIRST_COMPLETED)
                else:
                    ended = set()
                    if stuck := queue.stuck():
                        self.watcher.waiting(self.plan.nodes[stuck.key])
                    time.sleep(0.2)
                if time.monotonic() >= look_again:
                    queue.release()
                    look_again = time.monotonic() + _LOOK_AGAIN
                for news in pool.progress() if pool else ():
                    self._epoch(*news)
                for future in ended:
                    self._ended(running.pop(future), future, queue, finished)
            outcome.trained = len(self.fresh)
            if pool is not None:
                pool.close()
            self.listeners.close()
        except BaseException:
            if pool is not None:
                pool.kill()
            self.listeners.kill()
            raise
        finally:
            helper.shutdown(wait=False, cancel_futures=True)
            self.server.close()
            if self.writer is not None:
                self.writer.release()
        outcome.traces = list(self.traces)
        outcome.records = [finished[id(cell)] for cell in self.plan.cells if id(cell) in finished]
        outcome.left = len(self.aside)
        return outcome

    def _takes_over(self, queue: Queue) -> bool:
        """Whether this process evaluates, at its end, what it had left to another one that has ended."""
        if not self.aside or self.writer is None or not self.writer.claim(now=True):
            return False
        queue.cells, self.aside = self.aside, []
        return True

    def _check_stored(self, cells: list[PlannedCell]) -> None:
        """Marks stored stages with damaged weights, or without validation, as not stored."""
        for key in {key for cell in cells for key in cell.keys}:
            node = self.plan.nodes[key]
            node.stored = node.stored and self.store.finished(key)

    # --- tasks ----------------------------------------------------------------------------------------------

    @staticmethod
    def _busy(running: dict[Future[Any], Any]) -> int:
        return sum(not isinstance(w, _Evaluating) for w in running.values())

    def _start_ready(
        self,
        queue: Queue,
        helper: ThreadPoolExecutor,
        running: dict[Future[Any], Any],
        finished: dict[int, Record],
    ) -> None:
        """Starts the evaluation of cells with a program; closes those that will never have one.

        Lays them aside while another process writes the records.
        """
        ready = queue.take_ready(self.store, self.reasons)
        if self.writer is not None and not self.writer.claim():
            self.aside += ready
            return
        ready += self.aside
        self.aside = []
        for cell in ready:
            error = self.reasons.get(cell.key) or queue.unsealed.get((cell.key, cell.inputs))
            if error is None and cell.keys:
                running[helper.submit(self._record, cell)] = _Evaluating(cell)
            else:
                finished[id(cell)] = self._write(cell, self._closed(cell, error))

    def _ended(self, what: Any, future: Future[Any], queue: Queue, finished: dict[int, Record]) -> None:
        """Handles the result of a task or an evaluation."""
        if isinstance(what, _Evaluating):
            try:
                record, reused = future.result()
            except Exception as error:
                finished[id(what.cell)] = self._write(what.cell, self._closed(what.cell, error))
                return
            if record is None:
                queue.cells.append(what.cell)
            else:
                finished[id(what.cell)] = self._tell(record, reused)
            return
        try:
            done: TaskResult = future.result()
        except WorkerDied as died:
            self._lost(what, died, queue)
            return
        except Exception as error:
            self._stage_failed(what, error, queue)
            return
        if done.busy:
            queue.postpone(what, busy=True)
            return
        if isinstance(what, Train):
            if not done.hit:
                self.fresh[what.key] = done.seconds
            self.watcher.trained(self.plan.nodes[what.key], done.seconds, done.hit)
        queue.complete(what)

    def _lost(self, task: Task, died: WorkerDied, queue: Queue) -> None:
        """Retries a task whose process died (killed, out of memory, lost with its node); then it fails."""
        self.lost[task.key] += 1
        if self.lost[task.key] > died.retries:
            self._stage_failed(
                task,
                StoreError(
                    f"the process of stage {task.stage.kind} died {self.lost[task.key]} times ({died})",
                    "it may be out of memory: lower --workers or the batch size",
                ),
                queue,
            )
            return
        queue.postpone(task)

    def _stage_failed(self, task: Task, error: Exception, queue: Queue) -> None:
        node = self.plan.nodes[task.key]
        if isinstance(task, Seal):
            queue.unsealed[task.key, task.inputs] = error
            queue.complete(task)
            return
        self.watcher.failed(node, _reason(error))
        self.reasons[task.key] = error
        for key in queue.fail(task.key):
            self.reasons[key] = error

    @cached_property
    def _methods(self) -> dict[str, set[str]]:
        """Key of each stage -> methods of the cells that use it."""
        found: dict[str, set[str]] = {}
        for cell in self.plan.cells:
            for key in cell.keys:
                found.setdefault(key, set()).add(cell.method.name)
        return found

    def _epoch(self, key: str, done: int, total: int, values: EpochValues | None) -> None:
        """Shows the progress of a stage, and tells the listeners of an epoch that was trained."""
        self.watcher.epoch(key, done, total)
        if values is None:
            return
        node = self.plan.nodes[key]
        spec = node.spec
        self.listeners.epoch(
            Epoch(
                key=key,
                stage=node.stage.kind,
                reads=node.stage.reads,
                methods=tuple(sorted(self._methods[key])),
                dataset=spec.dataset,
                protocol=spec.protocol,
                seed=spec.seed,
                placebo=spec.placebo,
                epoch=done,
                epochs=total,
                **vars(values),
            )
        )

    # --- one cell -------------------------------------------------------------------------------------------

    def _record(self, cell: PlannedCell) -> tuple[Record | None, bool]:
        """The record of a cell, and whether another run has written it; None while one is evaluating it."""
        with ExitStack() as stack:
            place = digest([cell.identity, str(self.out.resolve())])
            with suppress(StoreError):  # a store that cannot be written to
                if not stack.enter_context(self.store.lock(place)):
                    time.sleep(0.2)
                    return None, False
                if (kept := self._kept(cell)) is not None:
                    return kept, True
            record = self._finished(cell, self._evaluate(cell))
            write_record(record, self._record_path(cell))
            return record, False

    def _evaluate(self, cell: PlannedCell) -> dict[str, Any]:
        features = needs_features(cell.context)
        sha256 = self.store.program_digest(cell.key, cell.inputs)
        if sha256 is None:
            raise StoreError(
                f"{self.store.program(cell.key, cell.inputs)} has changed since it was sealed",
                "run the same command to seal it again",
            )
        request = EvaluationRequest(
            program=self.store.program(cell.key, cell.inputs),
            sha256=sha256,
            prepared=self.plan.prepared[cell.spec.dataset],
            protocol=cell.context.protocol,
            inputs=cell.inputs,
            out=self._predictions(cell),
            features=features,
            gallery=cell.context.protocol.split.train if features else None,
            epochs=self.store.epochs(cell.key),
            device=self.evaluation_device or self.resources.device,
            threads=self.resources.threads,
            data_workers=self.resources.data_workers,
        )
        measured = self.evaluator(request)
        return {**measured, "epochs": score_epochs(cell.context, request, measured["epochs"])}

    def _predictions(self, cell: PlannedCell) -> Path:
        return self.out / "predictions" / cell.path.with_name(cell.path.name + ".parquet")

    def _record_path(self, cell: PlannedCell) -> Path:
        return self.out / "records" / cell.path.with_name(cell.path.name + ".json")

    def _kept(self, cell: PlannedCell) -> Record | None:
        """The record of an earlier run, if it has the key of this cell and its predictions are intact."""
        if not cell.keys:
            return None
        try:
            record = read_record(self._record_path(cell))
            if record.status != "done" or record.cell_key != cell.identity or record.digests is None:
                return None
            intact = file_digest(self._predictions(cell)) == record.digests.predictions
        except (OSError, RecordError):
            return None
        return record if intact else None

    def _finished(self, cell: PlannedCell, measured: dict[str, Any]) -> Record:
        prepared = self.plan.prepared[cell.spec.dataset]
        stored = {key: self.store.stage(key) for key in cell.keys}
        self.store.note_method(cell.keys, cell.method.name)
        return self.recorder.finished(cell, prepared, stored, measured, self._predictions(cell), self.fresh)

    def _closed(self, cell: PlannedCell, error: Exception | None = None) -> Record:
        """The record of a cell without result, because of `error` or of its plan."""
        if not isinstance(error, Unsupported) and not cell.skip:
            self.traces[cell.trace if error is None else trace_of(error)] = None
        if error is None:
            return self.recorder.closed(cell, cell.skip, cell.failure)
        return self.recorder.closed(
            cell, error.message if isinstance(error, Unsupported) else "", _reason(error)
        )

    def _write(self, cell: PlannedCell, record: Record) -> Record:
        write_record(record, self._record_path(cell))
        return self._tell(record, False)

    def _tell(self, record: Record, reused: bool) -> Record:
        self.watcher.cell(record, reused)
        if not reused:
            self.listeners.record(record)
        return record


@dataclass(frozen=True)
class _Evaluating:
    cell: PlannedCell


def _reason(error: Exception) -> str:
    text = error.message if isinstance(error, PmbenchError) else error_text(error)
    return text.strip().splitlines()[0] if text.strip() else type(error).__name__
