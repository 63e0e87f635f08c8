"""From records to boards: which records count, which make up a row, which are missing and why."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from ..errors import RecordError
from . import metrics
from .board import LEVELS, Absent, Board, Row, label_of, seeds_text
from .comparison import against_floor, contrasts, find_ceiling, find_floor, pair
from .metrics import Metric
from .published import Published, published_for
from .record import Record, recompute
from .statistics import t_interval


def boards(records: Iterable[Record], published: Sequence[Published] | None = None) -> list[Board]:
    """All boards that the records make up, by data set, protocol and backbones, whatever their order."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        c = record.cell
        key = [c.dataset, c.dataset_version, c.protocol, c.num_classes, c.recipe_set, c.backbones]
        groups.setdefault(json.dumps(key, sort_keys=True), []).append(record)
    return [_board(groups[key], published) for key in sorted(groups, key=_natural)]


def _natural(text: str) -> list[tuple[int, str]]:
    """Order in which `few-5` comes before `few-10`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", text)]


def _board(records: list[Record], published: Sequence[Published] | None) -> Board:
    remarks: list[str] = []
    cells = _one_per_cell(records, remarks)
    metric = _primary(cells)
    done: dict[str, dict[int, Record]] = {}
    missing: dict[tuple[str, str, str], list[int]] = {}
    for record in cells:
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
    absent = tuple(Absent(*key, tuple(sorted(missing[key]))) for key in sorted(missing))
    seeds = tuple(sorted({r.cell.seed for r in cells}))
    if metric is None or not done:
        return Board(cells[0].cell, metric, (), absent, None, None, seeds, (), tuple(remarks))
    rows = [_row(label, by_seed, metric, published) for label, by_seed in sorted(done.items())]
    paired = pair(rows, metric, remarks)
    rows = against_floor(rows, paired)
    for row in rows:
        lacking = sorted(set(seeds) - set(row.seeds))
        if lacking:
            remarks.append(
                f"{row.label} lacks {seeds_text(lacking)}; compared with others on the seeds that both have"
            )
    if len({r.digests.data for row in rows for r in row.records if r.digests}) > 1:
        remarks.append("the records were made from different prepared forms of the data")
    return Board(
        rows[0].cell,
        metric,
        tuple(rows),
        absent,
        find_floor(rows),
        find_ceiling(rows, metric),
        seeds,
        tuple(contrasts(rows, paired)),
        tuple(remarks),
    )


def _one_per_cell(records: list[Record], remarks: list[str]) -> list[Record]:
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


def _primary(records: list[Record]) -> Metric | None:
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


def _row(
    label: str, by_seed: dict[int, Record], metric: Metric, published: Sequence[Published] | None
) -> Row:
    records = tuple(by_seed[seed] for seed in sorted(by_seed))
    cell = records[0].cell
    printed = published_for(cell.method, cell.dataset, cell.protocol, metric.name, published)
    # A paper also prints what its method reaches when it is given everything; that is another number.
    printed = tuple(p for p in printed if len(p.test_modalities) == len(cell.test_modalities))
    return Row(label, records, t_interval([r.metrics[metric.name] for r in records]), published=printed)
