"""Trains one seed of a submission again, from an empty store, and compares. Level: retrain."""

from __future__ import annotations

import hashlib
import math
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ...data.prepared import Prepared
from ...report.record import Record
from ...report.submission import Entry
from ...store.store import Store
from ..coordinator import Outcome, Runner
from ..executors.local import LocalPool
from ..plan import Plan, PlannedCell, PlannedStage, graph_of
from ..provenance import isolation, provenance
from ..recording import Recorder
from ..worker import Resources
from .case import Case, Unknown, Wrong
from .outcome import Problem
from .seeds import rows

SPREADS, LEAST = 4.0, 1.0
"""Where bits differ: standard deviations over seeds, and points, by which a result may differ."""


class Silent:
    """A watcher that shows nothing."""

    def begin(self, stages: int, cells: int) -> None: ...
    def started(self, node: PlannedStage) -> None: ...
    def waiting(self, node: PlannedStage) -> None: ...
    def epoch(self, key: str, done: int, total: int) -> None: ...
    def trained(self, node: PlannedStage, seconds: float, hit: bool) -> None: ...
    def failed(self, node: PlannedStage, reason: str) -> None: ...
    def cell(self, record: Record, reused: bool) -> None: ...


def drawn(case: Case) -> int:
    """The seed that the nonce draws among those of the submission.

    The digests of its records enter, so that no one can know it before the submission is finished.
    """
    seeds = sorted({entry.record.cell.seed for entry in case.submission.done})
    text = " ".join([case.nonce, *sorted(entry.sha256 for entry in case.submission.done)])
    return seeds[int.from_bytes(hashlib.sha256(text.encode()).digest()) % len(seeds)]


def training_repeats_the_result(case: Case) -> Iterator[Problem]:
    """The rows of one seed, drawn by the referee, trained again give the same bits, or a near result."""
    seed = drawn(case)
    case.notes.append(f"trained again: seed {seed}, drawn by the nonce {case.nonce}")
    chosen: list[tuple[Entry, PlannedCell]] = []
    for entry in case.submission.done:
        if entry.record.cell.seed != seed:
            continue
        planned = case.plans[entry.file]
        if isinstance(planned, Unknown | Wrong) or not planned.keys:
            yield Problem(
                entry.file, str(planned) if isinstance(planned, Unknown) else "has no plan", checked=False
            )
        else:
            chosen.append((entry, planned))
    if not chosen:
        return
    outcome = _train(case, [planned for _, planned in chosen])
    spread = {
        entry.file: _spread(of_row) for of_row in rows(case.submission.done).values() for entry in of_row
    }
    for (entry, _), again in zip(chosen, outcome.records, strict=True):
        if again.status != "done":
            yield Problem(entry.file, f"training again failed: {again.reason}")
        else:
            limit = 0.0 if case.exact else max(SPREADS * spread[entry.file], LEAST)
            for reason in compare(entry.record, again, limit):
                yield Problem(entry.file, reason)
            if not math.isfinite(limit) and not same_bits(entry.record, again):
                reason = "other bits on this machine, and too few seeds to tell how far apart results may be"
                yield Problem(entry.file, reason, checked=False)


def _train(case: Case, cells: list[PlannedCell]) -> Outcome:
    names = {cell.spec.dataset for cell in cells}
    prepared: dict[str, Prepared] = {name: case.prepared(name) for name in names}
    with tempfile.TemporaryDirectory(prefix="pmbench-") as scratch:
        resources = Resources(Path(scratch, "store"), case.data, case.device)
        weights = {weights.digest for cell in cells for _, weights in cell.spec.weights}
        for digest in sorted(weights):
            assert case.weights is not None, "they were planned with these weights"
            pretrained = Store(resources.store).pretrained
            pretrained.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(case.weights / f"{digest}.safetensors", pretrained / f"{digest}.safetensors")
        plan = Plan(cells, graph_of(cells, Store(resources.store)), prepared)
        made = partial(
            provenance,
            case.registry,
            case.device,
            resources.threads,
            isolation(case.workers),
            ("verify", "--level", "retrain"),
        )
        recorder = Recorder(made, case.registry.published)
        return Runner(
            plan, case.registry, resources, Path(scratch, "out"), case.workers, recorder, Silent(), LocalPool
        ).execute()


def _spread(of_row: list[Entry]) -> float:
    """Standard deviation over the seeds of a row; infinite for less than three."""
    values = [entry.record.metrics[entry.record.primary or ""] for entry in of_row]
    return float(np.std(values, ddof=1)) if len(values) > 2 else math.inf


def same_bits(stated: Record, again: Record) -> bool:
    """Whether the predictions of two results are the same file."""
    assert stated.digests is not None
    assert again.digests is not None
    return stated.digests.predictions == again.digests.predictions


def compare(stated: Record, again: Record, limit: float) -> Iterator[str]:
    """What a record states otherwise than training again has given.

    `limit`: points by which the results may differ; 0 wants the same bits.
    """
    by_key = {stage.key: stage for stage in again.stages}  # equal keys: an earlier level has planned them
    pairs = [(by_key[stage.key], stage) for stage in stated.stages]
    for mine, theirs in pairs:
        for name in ("steps", "optimizer_steps", "samples", "departures"):
            found, own = getattr(theirs, name), getattr(mine, name)
            if found not in (None, own):
                yield f"stage {mine.stage}: {name} is {found}; trained again it is {own}"
    if same_bits(stated, again):
        if stated.validation != again.validation or stated.audit != again.audit:
            yield "the same predictions, but another validation curve, selection or audit"
        for mine, theirs in pairs:
            for name in ("selected_epoch", "validation", "near_chance"):
                if getattr(theirs, name) not in (None, getattr(mine, name)):
                    yield f"the same predictions, but another {name} of stage {mine.stage}"
        return
    if limit == 0:
        yield "trained again on the same kind of machine, its predictions have other bits"
        return
    assert stated.primary is not None
    found, own = stated.metrics[stated.primary], again.metrics[stated.primary]
    if abs(found - own) > limit:
        yield f"{stated.primary} is {found:.2f}; trained again it is {own:.2f}, more than {limit:.2f} apart"
