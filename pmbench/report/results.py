"""Which records count, and what they say: results by row and seed, and what has none and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ..errors import RecordError
from . import metrics
from .boards import LEVELS, Absent, label_of
from .metrics import Metric
from .record import Record, recompute


def results(
    records: Iterable[Record], metric: Metric | None
) -> tuple[dict[str, dict[int, Record]], tuple[Absent, ...]]:
    """(label -> seed -> finished record, what has no result)."""
    done: dict[str, dict[int, Record]] = {}
    missing: dict[tuple[str, str, str], list[int]] = {}
    for record in records:
        label, seed = label_of(record.cell), record.cell.seed
        status: str = record.status
        reason = record.reason or ""
        if status == "done":
            problem = _problem(record, metric)
            if problem is None:
                done.setdefault(label, {})[seed] = record
                continue
            status, reason = "invalid", problem
        missing.setdefault((label, status, reason), []).append(seed)
    return done, tuple(Absent(*key, tuple(sorted(missing[key]))) for key in sorted(missing))


def one_per_cell(records: list[Record], remarks: list[str]) -> list[Record]:
    """Of several records of one method, options and seed: a finished one, the best verified, the newest."""
    by_cell: dict[tuple[str, int], list[Record]] = {}
    for record in records:
        by_cell.setdefault((label_of(record.cell), record.cell.seed), []).append(record)
    chosen = []
    for (label, seed), same in sorted(by_cell.items()):
        same.sort(
            key=lambda r: (
                r.status == "done",
                LEVELS.index(r.verification),
                r.provenance.date,
                r.cell_key,
                r.model_dump_json(),
            )
        )
        chosen.append(same[-1])
        if len({r.cell_key for r in same}) > 1:
            remarks.append(
                f"{label} has {len(same)} records for seed {seed}; one counts: the best verified, then newest"
            )
    return chosen


def primary_of(records: list[Record]) -> Metric | None:
    """The primary metric of most finished cells."""
    names = Counter(r.primary for r in records if r.status == "done" and r.primary)
    names = Counter({name: count for name, count in names.items() if name in metrics.METRICS})
    if not names:
        return None
    return metrics.METRICS[min(names, key=lambda name: (-names[name], name))]


def _problem(record: Record, metric: Metric | None) -> str | None:
    """Why a finished record cannot be on the board, if it cannot."""
    if metric is None or metric.name not in record.metrics:
        return f"it has no {metric.title if metric else 'metric that is known here'}"
    try:
        recompute(record)
    except RecordError as error:
        return error.message
    return None
