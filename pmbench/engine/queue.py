"""What of a run is still to be done, and in which order."""

from __future__ import annotations

from .plan import Cell, Node
from .store import Store
from .work import Seal, Task, Train


class Queue:
    """Stages to train, programs to seal, cells to evaluate."""

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
