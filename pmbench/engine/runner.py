"""Carries a plan out: trains what is missing, seals, evaluates, scores, writes records."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..errors import PmbenchError, RecordError, StoreError, Unsupported
from ..report.record import (
    Cell as RecordCell,
)
from ..report.record import (
    Cost,
    Digests,
    Provenance,
    Record,
    Samples,
    StageRun,
    Validation,
    read_record,
    write_record,
)
from .evaluator import Evaluator
from .evaluator import Request as Evaluation
from .executors.local import BrokenPool, LocalPool
from .identity import digest, file_digest
from .plan import Cell, Node, Plan, needed
from .plugins import Registry
from .scoring import needs_features, score_cell
from .store import Store
from .work import Done, Place, Seal, Task, Train

FLAT_POINTS = 1.0
"""Percentage points that the last quarter of a flat validation curve may gain over the quarter before."""


class Watcher(Protocol):
    """What sees a run happen."""

    def begin(self, stages: int, cells: int) -> None: ...
    def started(self, node: Node) -> None: ...
    def epoch(self, key: str, done: int, total: int) -> None: ...
    def trained(self, node: Node, seconds: float, hit: bool) -> None: ...
    def failed(self, node: Node, reason: str) -> None: ...
    def cell(self, record: Record, reused: bool) -> None: ...


@dataclass
class Outcome:
    """What a run left behind, in the order of the cells."""

    records: list[Record] = field(default_factory=list)
    trained: int = 0
    reused: int = 0

    @property
    def failed(self) -> list[Record]:
        return [r for r in self.records if r.status == "failed"]


@dataclass
class Runner:
    """One run. `execute()` may be called again after any interruption."""

    plan: Plan
    registry: Registry
    place: Place
    out: Path
    workers: int
    provenance: Provenance
    watcher: Watcher
    make_pool: Callable[[int, Place], Any] = LocalPool

    def __post_init__(self) -> None:
        self.store = Store(self.place.store)
        self.evaluator = Evaluator()
        self.reasons: dict[str, Exception] = {}
        self.fresh: dict[str, float] = {}
        self.retried: set[str] = set()

    def execute(self) -> Outcome:
        """Trains, seals, evaluates; a failure is a record with its reason, the others go on."""
        finished = {id(cell): record for cell in self.plan.cells if (record := self._kept(cell))}
        open_cells = [cell for cell in self.plan.cells if id(cell) not in finished]
        self._distrust_damaged(open_cells)
        wanted = needed(self.plan, open_cells)
        self.watcher.begin(len(wanted), len(self.plan.cells))
        for cell in self.plan.cells:
            if id(cell) in finished:
                self.watcher.cell(finished[id(cell)], True)
        outcome = Outcome(reused=len(finished))
        pool: Any = None
        helper = ThreadPoolExecutor(1)
        try:
            for cell in open_cells:
                if cell.stage is None:
                    finished[id(cell)] = self._write(
                        cell, self._without_result(cell, cell.skip, cell.failure)
                    )
            queue = _Queue(wanted, [c for c in open_cells if c.stage is not None])
            running: dict[Future[Any], Any] = {}
            while queue.open or running:
                self._start_ready(queue, helper, running, finished)
                while self._busy(running) < max(1, self.workers) and (task := queue.next_task()):
                    pool = pool or self.make_pool(self.workers, self.place)
                    if isinstance(task, Train):
                        self.watcher.started(self.plan.nodes[task.key])
                    running[pool.submit(task)] = task
                if running:
                    ended, _ = wait(running, timeout=0.1, return_when=FIRST_COMPLETED)
                else:
                    ended = set()
                    time.sleep(0.2)
                if not self._busy(running):
                    queue.release()
                for key, done, total in pool.progress() if pool else ():
                    self.watcher.epoch(key, done, total)
                broken = False
                for future in ended:
                    what = running.pop(future)
                    try:
                        broken |= self._ended(what, future, queue, finished)
                    except BrokenPool:
                        broken = True
                if broken:
                    for what in [w for f, w in running.items() if not isinstance(w, _Evaluating)]:
                        self._lost(what, queue)
                    running = {f: w for f, w in running.items() if isinstance(w, _Evaluating)}
                    pool.kill()
                    pool = None
            outcome.trained = len(self.fresh)
            if pool is not None:
                pool.close()
        except BaseException:
            if pool is not None:
                pool.kill()
            self.evaluator.close()
            raise
        finally:
            helper.shutdown(wait=False, cancel_futures=True)
            self.evaluator.close()
        outcome.records = [finished[id(cell)] for cell in self.plan.cells]
        return outcome

    def _distrust_damaged(self, cells: list[Cell]) -> None:
        """Stored stages whose weights are not those that were written are trained anew."""
        for key in {c.context.key(s) for c in cells if c.stage for s in c.stage.walk()}:
            node = self.plan.nodes[key]
            node.stored = node.stored and self.store.whole(key)

    # --- the graph at work ----------------------------------------------------------------------------------

    @staticmethod
    def _busy(running: dict[Future[Any], Any]) -> int:
        return sum(not isinstance(w, _Evaluating) for w in running.values())

    def _start_ready(
        self,
        queue: _Queue,
        helper: ThreadPoolExecutor,
        running: dict[Future[Any], Any],
        finished: dict[int, Record],
    ) -> None:
        """Starts the evaluation of cells whose program is there; closes those that will never have one."""
        for cell in queue.take_ready(self.store, self.reasons):
            error = self.reasons.get(cell.key) or queue.unsealed.get((cell.key, cell.inputs))
            if error is None:
                running[helper.submit(self._evaluate, cell)] = _Evaluating(cell)
            else:
                skip = error.message if isinstance(error, Unsupported) else ""
                finished[id(cell)] = self._write(
                    cell, self._without_result(cell, skip, "" if skip else _reason(error))
                )

    def _ended(self, what: Any, future: Future[Any], queue: _Queue, finished: dict[int, Record]) -> bool:
        """Takes the result of one task or evaluation in; True where the pool broke."""
        if isinstance(what, _Evaluating):
            try:
                record = self._done(what.cell, future.result())
            except PmbenchError as error:
                record = self._without_result(what.cell, "", _reason(error))
            finished[id(what.cell)] = self._write(what.cell, record)
            return False
        try:
            done: Done = future.result()
        except BrokenPool:
            self._lost(what, queue)
            return True
        except Exception as error:
            self._stage_failed(what, error, queue)
            return False
        if done.busy:
            queue.postpone(what)
            return False
        if isinstance(what, Train):
            if not done.hit:
                self.fresh[what.key] = done.seconds
            self.watcher.trained(self.plan.nodes[what.key], done.seconds, done.hit)
        queue.complete(what)
        return False

    def _lost(self, task: Task, queue: _Queue) -> None:
        """A worker died under this task (killed, out of memory): once more, then it is a failure."""
        if task.key in self.retried:
            self._stage_failed(
                task,
                StoreError(
                    f"the worker process died twice while it worked on stage {type(task.stage).__name__}",
                    "it may be out of memory: lower --workers or the batch size",
                ),
                queue,
            )
            return
        self.retried.add(task.key)
        queue.postpone(task)

    def _stage_failed(self, task: Task, error: Exception, queue: _Queue) -> None:
        node = self.plan.nodes[task.key]
        if isinstance(task, Seal):
            queue.unsealed[task.key, task.inputs] = error
            queue.complete(task)
            return
        self.watcher.failed(node, _reason(error))
        self.reasons[task.key] = error
        queue.complete(task)
        for key in queue.fail_dependents(task.key):
            self.reasons[key] = error

    # --- one cell -------------------------------------------------------------------------------------------

    def _evaluate(self, cell: Cell) -> dict[str, Any]:
        offer = self.registry.offer("dataset", cell.spec.dataset)
        predictions = self._predictions(cell)
        split = cell.context.protocol.split
        return self.evaluator(
            Evaluation(
                program=str(self.store.program(cell.key, cell.inputs)),
                distribution=offer.distribution,
                dataset=cell.spec.dataset,
                data=str(self.place.data),
                part=split.test,
                inputs=cell.inputs,
                out=str(predictions),
                features=needs_features(cell),
                gallery=split.train if needs_features(cell) else None,
            )
        )

    def _predictions(self, cell: Cell) -> Path:
        return self.out / "predictions" / cell.path.with_name(cell.path.name + ".parquet")

    def _record_path(self, cell: Cell) -> Path:
        return self.out / "records" / cell.path.with_name(cell.path.name + ".json")

    def _kept(self, cell: Cell) -> Record | None:
        """The cell's record from an earlier run, if it is of this very cell and its predictions are there."""
        if cell.stage is None:
            return None
        try:
            record = read_record(self._record_path(cell))
            if record.status != "done" or record.cell_key != cell.identity or record.digests is None:
                return None
            whole = file_digest(self._predictions(cell)) == record.digests.predictions
        except (OSError, RecordError):
            return None
        return record if whole else None

    def _done(self, cell: Cell, answer: dict[str, Any]) -> Record:
        prepared = self.plan.prepared[cell.spec.dataset]
        metrics, labels, predicted = score_cell(cell, prepared, self._predictions(cell))
        assert cell.stage is not None
        last = self.store.stage(cell.key)
        stages = [
            StageRun(key=key, reused=key not in self.fresh, **run) for key, run in last["lineage"].items()
        ]
        curve = [float(v) for v in last["curve"] if v is not None]
        recipe = cell.context.recipe_of(cell.stage)
        metric, split = cell.context.protocol.metrics[0], cell.context.protocol.split
        return Record(
            cell=self._record_cell(cell),
            cell_key=cell.identity,
            status="done",
            stages=stages,
            metrics=metrics,
            primary=metric,
            validation=Validation(
                rule=f"{recipe.select} epoch on validation data" if recipe.select == "best" else "last epoch",
                metric=metric,
                selected=last["selected"]["value"],
                curve=curve,
                flat=is_flat(curve),
            ),
            cost=Cost(
                train_seconds=sum(s.seconds for s in stages),
                train_seconds_spent=sum(s.seconds for s in stages if not s.reused),
                steps=sum(s.steps for s in stages),
                parameters=answer["parameters"],
                macs=answer["macs"],
                latency_ms=answer["latency_ms"],
                networks=cell.method.networks,
            ),
            digests=Digests(
                program=answer["program"],
                predictions=answer["predictions"],
                labels=digest([prepared.fingerprint[split.test][name] for name in ("labels", "index")]),
                data=digest(prepared.fingerprint),
            ),
            samples=Samples.of(labels, predicted),
            sealed=True,
            deviations=[
                *cell.method.deviations,
                *dict.fromkeys(n for s in cell.stage.walk() for n in s.notes),
            ],
            provenance=self.provenance,
        )

    def _without_result(self, cell: Cell, skip: str, failure: str) -> Record:
        return Record(
            cell=self._record_cell(cell),
            cell_key=cell.identity,
            status="skipped" if skip else "failed",
            reason=skip or failure,
            provenance=self.provenance,
        )

    def _record_cell(self, cell: Cell) -> RecordCell:
        dataset, method = cell.context.dataset, cell.method
        return RecordCell(
            method=method.name,
            options=dict(cell.options),
            dataset=dataset.name,
            dataset_version=dataset.version,
            protocol=cell.context.protocol.name,
            backbones=dict(cell.spec.backbones),
            seed=cell.context.seed,
            role=method.role,
            tests_on=method.tests_on,
            test_modalities=list(cell.inputs),
            target=list(cell.setting.target),
            privileged=list(cell.setting.privileged),
            num_classes=len(dataset.classes),
            positive_class=dataset.positive_class,
            recipe_set=self._recipe_set(cell),
        )

    @staticmethod
    def _recipe_set(cell: Cell) -> str:
        changed = cell.spec.recipe.departures(cell.context.dataset.recipe)
        return "standard" if not changed else ", ".join(f"{n}={v[1]}" for n, v in changed.items())

    def _write(self, cell: Cell, record: Record) -> Record:
        write_record(record, self._record_path(cell))
        self.watcher.cell(record, False)
        for implementation in self.registry.manager.hook.pmbench_run_finished.get_hookimpls():
            try:
                implementation.function(record)
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                self.registry.note_broken(implementation.plugin_name, "pmbench_run_finished", reason)
        return record


@dataclass(frozen=True)
class _Evaluating:
    cell: Cell


class _Queue:
    """What is still to be done, and in which order."""

    def __init__(self, wanted: dict[str, Node], cells: list[Cell]) -> None:
        self.nodes = dict(wanted)
        self.unfinished = set(wanted)
        self.waiting = list(wanted)
        self.postponed: list[Task] = []
        self.cells = list(cells)
        self.sealing: set[tuple[str, tuple[str, ...]]] = set()
        self.unsealed: dict[tuple[str, tuple[str, ...]], Exception] = {}

    @property
    def open(self) -> bool:
        return bool(self.waiting or self.postponed or self.cells)

    def next_task(self) -> Task | None:
        """The next stage to train or seal: programs first, so that results come early."""
        for cell in self.cells:
            mark = (cell.key, cell.inputs)
            if cell.key in self.unfinished or mark in self.sealing:
                continue
            self.sealing.add(mark)
            assert cell.stage is not None
            return Seal(cell.key, cell.stage, cell.spec, cell.inputs)
        for key in self.waiting:
            node = self.nodes[key]
            if not any(parent in self.unfinished for parent in node.parents):
                self.waiting.remove(key)
                return Train(key, node.stage, node.spec)
        return None

    def complete(self, task: Task) -> None:
        if isinstance(task, Train):
            self.unfinished.discard(task.key)

    def postpone(self, task: Task) -> None:
        if isinstance(task, Seal):
            self.sealing.discard((task.key, task.inputs))
        else:
            self.postponed.append(task)

    def release(self) -> None:
        """Lets postponed stages be tried again."""
        self.waiting = [t.key for t in self.postponed] + self.waiting
        self.postponed = []

    def fail_dependents(self, key: str) -> list[str]:
        """Drops all stages that rest on `key`; returns their keys."""
        lost, found = {key}, []
        for other, node in self.nodes.items():
            if other in self.unfinished and any(p in lost for p in node.parents):
                lost.add(other)
                found.append(other)
                self.unfinished.discard(other)
        self.waiting = [k for k in self.waiting if k not in lost]
        return found

    def take_ready(self, store: Store, reasons: dict[str, Exception]) -> list[Cell]:
        """Cells that can be evaluated, or that cannot ever be; each is returned once."""
        ready = []
        for cell in list(self.cells):
            mark = (cell.key, cell.inputs)
            if (
                cell.key in reasons
                or mark in self.unsealed
                or (cell.key not in self.unfinished and store.program(*mark).exists())
            ):
                self.cells.remove(cell)
                ready.append(cell)
        return ready


def is_flat(curve: list[float]) -> bool | None:
    """Whether training for longer would hardly have helped; None when the curve is too short to tell.

    The mean of the last quarter of the epochs must exceed that of the quarter before by less than FLAT_POINTS
    and twice the standard error that the epochs' own scatter gives the difference.
    """
    quarter = len(curve) // 4
    if quarter < 2:
        return None
    last, before = curve[-quarter:], curve[-2 * quarter : -quarter]
    error = math.sqrt((statistics.variance(last) + statistics.variance(before)) / quarter)
    return statistics.fmean(last) - statistics.fmean(before) < FLAT_POINTS + 2 * error


def _reason(error: Exception) -> str:
    text = error.message if isinstance(error, PmbenchError) else f"{type(error).__name__}: {error}"
    return text.strip().splitlines()[0] if text.strip() else type(error).__name__
