"""From records to boards: one per data set, protocol, choice of backbones, recipe and set of values.

`boards` picks the records that count, groups them into rows, compares the rows, and keeps the reasons of
cells without a result.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..contracts.metric import Metric
from ..errors import RecordError
from ..metrics.builtin import METRICS
from .comparison import Contrast, Row, against_floor, contrasts, find_ceiling, find_floor, label_of, pair
from .record import LEVELS, AblationRow, CellInfo, PublishedNumber, Record, metric_of, recompute
from .statistics import Comparison, Interval, holm, t_interval
from .text import natural, seeds_text


@dataclass(frozen=True)
class Absent:
    """A row without a result for some seeds. `status`: skipped, failed, or invalid."""

    label: str
    status: str
    reason: str
    seeds: tuple[int, ...]

    @property
    def text(self) -> str:
        """`skipped (seeds 0, 1): the reason`, on one line."""
        return f"{self.status} ({seeds_text(self.seeds)}): {' '.join(self.reason.split())}"


@dataclass(frozen=True)
class AblationResult:
    """One line of an ablation table. `name` is empty for the method itself, `row` is None without a result.

    `comparison` is with the method itself, None if the row has the same stages; `p` is Holm-corrected over
    the table.
    """

    name: str
    options: Mapping[str, Any]
    row: Row | None = None
    absent: tuple[Absent, ...] = ()
    comparison: Comparison | None = None
    p: float | None = None
    printed: tuple[PublishedNumber, ...] = ()


@dataclass(frozen=True)
class AblationTable:
    """A method compared with itself under changed options, as in the ablation tables of its paper."""

    label: str
    rows: tuple[AblationResult, ...]


@dataclass(frozen=True)
class Board:
    """`rows`: ranked ones by rank, then the others; `remarks`: limits of the comparison.

    Ablations are kept apart: no rank, p or mean of `rows` depends on them.
    """

    cell: CellInfo
    metric: Metric | None
    rows: tuple[Row, ...]
    absent: tuple[Absent, ...]
    floor: Row | None
    ceiling: Row | None
    seeds: tuple[int, ...]
    contrasts: tuple[Contrast, ...] = ()
    remarks: tuple[str, ...] = ()
    ablations: tuple[AblationTable, ...] = ()

    @property
    def title(self) -> str:
        values = f", {self.cell.value_set} values" if self.cell.value_set != "paper" else ""
        return f"{self.cell.dataset}, {self.cell.protocol}{values}"


def boards(records: Iterable[Record]) -> list[Board]:
    """All boards of the records, sorted by key; the order of the records does not matter."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        c = record.cell
        data = [c.dataset, c.dataset_version, c.protocol, c.num_classes]
        key = [*data, c.recipe_set, c.backbones, c.value_set]
        groups.setdefault(json.dumps(key, sort_keys=True), []).append(record)
    return [_board(groups[key]) for key in sorted(groups, key=natural)]


def _board(records: list[Record]) -> Board:
    ablated = [r for r in records if r.cell.ablation is not None]
    if len(ablated) == len(records):
        board = Board(records[0].cell, _primary_metric(records), (), (), None, None, ())
    else:
        board = _main_board([r for r in records if r.cell.ablation is None])
    return dataclasses.replace(board, ablations=_ablation_tables(board, ablated))


def _main_board(records: list[Record]) -> Board:
    remarks: list[str] = []
    cells = _one_per_cell(records, remarks)
    metric = _primary_metric(cells)
    done, absent = _split(cells, metric)
    seeds = tuple(sorted({r.cell.seed for r in cells}))
    if metric is None or not done:
        return Board(cells[0].cell, metric, (), absent, None, None, seeds, (), tuple(remarks))
    rows = [_row(label, by_seed, metric) for label, by_seed in sorted(done.items())]
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


def _row(label: str, by_seed: dict[int, Record], metric: Metric) -> Row:
    records = tuple(by_seed[seed] for seed in sorted(by_seed))
    # Papers also print results with all modalities at test: other numbers, left out here.
    given = len(records[0].cell.test_modalities)
    published = [p for p in _published(records) if len(p.test_modalities) == given]

    def measured(name: str) -> tuple[Interval, tuple[PublishedNumber, ...]]:
        values = [r.metrics[name] for r in records]
        return t_interval(values), tuple(p for p in published if p.metric == name)

    known = dict.fromkeys([*METRICS, *records[0].metric_info])
    common = [name for name in known if all(name in r.metrics for r in records)]
    interval, printed = measured(metric.name)
    others = {name: measured(name) for name in common if name != metric.name}
    return Row(label, records, interval, published=printed, others=others)


def _published(records: Iterable[Record]) -> tuple[PublishedNumber, ...]:
    """The numbers of all records, each once."""
    found: list[PublishedNumber] = []
    for record in records:
        found += [p for p in record.published if p not in found]
    return tuple(found)


# --- which records count ------------------------------------------------------------------------------------


def _split(
    records: Iterable[Record], metric: Metric | None
) -> tuple[dict[str, dict[int, Record]], tuple[Absent, ...]]:
    """Finished records as label -> seed -> record, and the cells without a result."""
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


def _one_per_cell(records: list[Record], remarks: list[str]) -> list[Record]:
    """One record per row and seed: finished before unfinished, then the best verified, then the newest."""
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


def _primary_metric(records: list[Record]) -> Metric | None:
    """The most frequent primary metric of the finished cells."""
    found = [(r.primary, metric_of(r, r.primary)) for r in records if r.status == "done" and r.primary]
    names = Counter(name for name, metric in found if metric is not None)
    if not names:
        return None
    return dict(found)[min(names, key=lambda name: (-names[name], name))]


def _problem(record: Record, metric: Metric | None) -> str | None:
    """The reason why a finished record cannot be on the board; None if it can."""
    if metric is None or metric.name not in record.metrics:
        return f"it has no {metric.title if metric else 'known metric'}"
    try:
        recompute(record)
    except RecordError as error:
        return error.message
    return None


# --- ablations ----------------------------------------------------------------------------------------------


def _ablation_tables(board: Board, records: Iterable[Record]) -> tuple[AblationTable, ...]:
    """The tables of ablation records; the methods that they are compared with are rows of `board`."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        key = json.dumps([record.cell.method, _ablation_row(record).of], sort_keys=True)
        groups.setdefault(key, []).append(record)
    return tuple(_ablation_table(board, groups[key]) for key in sorted(groups))


def _ablation_table(board: Board, records: list[Record]) -> AblationTable:
    cells = _one_per_cell(records, [])
    metric = board.metric or _primary_metric(cells)
    done, missing = _split(cells, metric)
    method = cells[0].cell.model_copy(update={"ablation": None, "options": _ablation_row(cells[0]).of})
    label = label_of(method)
    whole = next((row for row in board.rows if row.label == label), None)
    rows: dict[str, Row] = {}
    if metric is not None:
        for row, by_seed in done.items():
            values = [by_seed[seed].metrics[metric.name] for seed in sorted(by_seed)]
            rows[row] = Row(row, tuple(by_seed[seed] for seed in sorted(by_seed)), t_interval(values))
    found = [AblationResult("", method.options, whole, tuple(a for a in board.absent if a.label == label))]
    by_name: dict[str, list[Record]] = {}
    for record in cells:
        by_name.setdefault(_ablation_row(record).row, []).append(record)
    for name in sorted(by_name, key=natural):
        cell = by_name[name][-1].cell
        mine = label_of(cell)
        absent = tuple(a for a in missing if a.label == mine)
        printed = _published(by_name[name])
        found.append(AblationResult(name, cell.options, rows.get(mine), absent, printed=printed))
    if whole is not None and metric is not None and rows:
        paired = pair([whole, *rows.values()], metric, [])
        compared = [r.row if r.row and not _same_stages(r.row, whole) else None for r in found]
        against = [None if row is None else paired.compare(row, whole) for row in compared]
        corrected = holm([None if c is None else c.p for c in against])
        found = [
            dataclasses.replace(r, comparison=c, p=p)
            for r, c, p in zip(found, against, corrected, strict=True)
        ]
    return AblationTable(label, tuple(found))


def _ablation_row(record: Record) -> AblationRow:
    assert record.cell.ablation is not None, "a record of an ablation"
    return record.cell.ablation


def _same_stages(row: Row, whole: Row) -> bool:
    """Whether a row shares all stages with the method itself, so that there is nothing to compare."""
    return all(
        {s.key for s in mine.stages} == {s.key for s in its.stages}
        for mine in row.records
        for its in whole.records
        if mine.cell.seed == its.cell.seed
    )
