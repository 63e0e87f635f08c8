"""The remaining tasks of a run, in order."""

from __future__ import annotations

import time
from graphlib import TopologicalSorter

from ..files import PATIENCE
from ..store.store import Store
from .plan import PlannedCell, PlannedStage
from .worker import Seal, Task, Train

Program = tuple[str, tuple[str, ...]]
"""Key of a stage, and inputs of its sealed program."""


class Queue:
    """Stages to train, programs to seal, cells to evaluate.

    `nodes` are the stages to train, parents first; other parents are stored. Of the ready stages the first
    from `start` on, a share of the nodes in [0, 1), is next.
    """

    def __init__(self, nodes: dict[str, PlannedStage], cells: list[PlannedCell], start: float = 0.0) -> None:
        self.nodes = dict(nodes)
        self.untrained = set(nodes)
        self.waiting = set(nodes)
        self.postponed: list[Task] = []
        self.cells = list(cells)
        self.sealing: set[Program] = set()
        self.unsealed: dict[Program, Exception] = {}
        first = int(start * len(nodes))
        self._order = {key: (number - first) % len(nodes) for number, key in enumerate(nodes)}
        self._sorter = TopologicalSorter(
            {key: [p for p in node.parents if p in nodes] for key, node in nodes.items()}
        )
        self._sorter.prepare()
        self._ready: list[str] = []
        self._busy: dict[str, float] = {}
        self._told: set[str] = set()

    @property
    def open(self) -> bool:
        return bool(self.waiting or self.postponed or self.cells)

    def next_task(self) -> Task | None:
        """The next program to seal, so that results come early, else the next stage to train, else None."""
        for cell in self.cells:
            program = (cell.key, cell.inputs)
            if not cell.keys or cell.key in self.untrained or program in self.sealing:
                continue
            self.sealing.add(program)
            return Seal(cell.key, cell.stages, cell.spec, cell.inputs)
        self._ready += self._sorter.get_ready()
        if not self._ready:
            return None
        key = min(self._ready, key=self._order.__getitem__)
        self._ready.remove(key)
        self.waiting.discard(key)
        return Train(key, self.nodes[key].lineage, self.nodes[key].spec)

    def complete(self, task: Task) -> None:
        """Marks a task as done; stages that waited for it become ready."""
        self._busy.pop(task.key, None)
        if isinstance(task, Train):
            self.untrained.discard(task.key)
            self._sorter.done(task.key)

    def postpone(self, task: Task, *, busy: bool = False) -> None:
        """Postpones a task that another process works on (`busy`), or whose worker died."""
        if busy:
            self._busy.setdefault(task.key, time.monotonic())
        else:
            self._busy.pop(task.key, None)
        if isinstance(task, Seal):
            self.sealing.discard((task.key, task.inputs))
        else:
            self.postponed.append(task)

    def release(self) -> None:
        """Makes postponed stages ready again."""
        self._ready += [task.key for task in self.postponed]
        self.waiting.update(task.key for task in self.postponed)
        self.postponed = []

    def stuck(self) -> Task | None:
        """A task that another process has worked on for PATIENCE seconds; once while it is postponed."""
        before = time.monotonic() - PATIENCE
        late = [t for t in self.postponed if t.key in self._busy and self._busy[t.key] <= before]
        if not late or any(task.key in self._told for task in self.postponed):
            return None
        self._told.add(late[0].key)
        return late[0]

    def fail(self, key: str) -> list[str]:
        """Drops a failed stage and its descendants; returns the keys of the descendants."""
        failed = {key}
        for other, node in self.nodes.items():
            if other in self.untrained and not failed.isdisjoint(node.parents):
                failed.add(other)
        self.untrained -= failed
        self.waiting -= failed
        return [other for other in self.nodes if other in failed and other != key]

    def take_ready(self, store: Store, reasons: dict[str, Exception]) -> list[PlannedCell]:
        """Cells that can be evaluated, have failed or have no stages; each is returned once."""
        ready: list[PlannedCell] = []
        left: list[PlannedCell] = []
        for cell in self.cells:
            (ready if self._settled(cell, store, reasons) else left).append(cell)
        self.cells = left
        return ready

    def _settled(self, cell: PlannedCell, store: Store, reasons: dict[str, Exception]) -> bool:
        program = (cell.key, cell.inputs)
        if not cell.keys or cell.key in reasons or program in self.unsealed:
            return True
        return cell.key not in self.untrained and store.program_digest(*program) is not None
