"""Progress of a run on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..errors import plural

if TYPE_CHECKING:
    from ..report.record import Record
    from .coordinator import Watcher
    from .plan import PlannedStage


def label(node: PlannedStage) -> str:
    """`Stream(gyro) hapt few-10 seed 0`."""
    spec = node.spec
    placebo = f", {spec.placebo} placebo" if spec.placebo else ""
    return f"{node.stage.label} {spec.dataset} {spec.protocol} seed {spec.seed}{placebo}"


def _waiting(node: PlannedStage) -> str:
    return f"Waiting for {label(node)}, which another process trains"


class Lines:
    """One line for each event, for pipes and log files."""

    def begin(self, stages: int, cells: int) -> None:
        self.total, self.done, self.start = stages, 0, time.monotonic()
        if stages:
            self._say(f"{plural(stages, 'stage')} to train for {plural(cells, 'cell')}")

    def started(self, node: PlannedStage) -> None:
        pass

    def waiting(self, node: PlannedStage) -> None:
        self._say(_waiting(node))

    def epoch(self, key: str, done: int, total: int) -> None:
        pass

    def trained(self, node: PlannedStage, seconds: float, hit: bool) -> None:
        self.done += 1
        left = (time.monotonic() - self.start) / self.done * (self.total - self.done)
        what = "stored already" if hit else f"{seconds:.1f} s"
        self._say(f"[{self.done}/{self.total}] {label(node)}: {what}, about {left:.0f} s left")

    def failed(self, node: PlannedStage, reason: str) -> None:
        self.done += 1
        self._say(f"[{self.done}/{self.total}] {label(node)}: FAILED: {reason}")

    def cell(self, record: Record, reused: bool) -> None:
        pass

    def _say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class Quiet(Lines):
    """No line."""

    def _say(self, text: str) -> None:
        pass


class Bars:
    """A progress bar for the run and one for each running stage, with epochs and time left."""

    def __init__(self, progress: Any) -> None:
        self.progress = progress
        self.bars: dict[str, Any] = {}
        self.whole: Any = None

    def begin(self, stages: int, cells: int) -> None:
        self.whole = self.progress.add_task(
            f"{plural(stages, 'stage')}, {plural(cells, 'cell')}", total=max(stages, 1)
        )
        if not stages:
            self.progress.advance(self.whole)

    def started(self, node: PlannedStage) -> None:
        self.bars[node.key] = self.progress.add_task(f"  {label(node)}", total=None)

    def waiting(self, node: PlannedStage) -> None:
        self.progress.console.print(_waiting(node), markup=False)

    def epoch(self, key: str, done: int, total: int) -> None:
        if key in self.bars:
            self.progress.update(self.bars[key], completed=done, total=max(total, 1))

    def trained(self, node: PlannedStage, seconds: float, hit: bool) -> None:
        self._end(node)

    def failed(self, node: PlannedStage, reason: str) -> None:
        self._end(node)
        self.progress.console.print(f"FAILED {label(node)}: {reason}", markup=False)

    def _end(self, node: PlannedStage) -> None:
        if node.key in self.bars:
            self.progress.remove_task(self.bars.pop(node.key))
        self.progress.advance(self.whole)

    def cell(self, record: Record, reused: bool) -> None:
        pass


@contextmanager
def watch(quiet: bool = False) -> Iterator[Watcher]:
    """Bars on a terminal, lines elsewhere; nothing if `quiet`."""
    if quiet or not sys.stderr.isatty():
        yield Quiet() if quiet else Lines()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield Bars(progress)
