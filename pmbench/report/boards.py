"""From records to boards: one per data set, protocol, backbones, recipe and set of hyper-parameter values.

`boards` selects one record per cell, groups records into rows, compares the rows, and lists the reasons of
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
from .cell import AblationRow, CellInfo
from .comparison import Claim, Contrast, against_floor, claims, contrasts, pair, smallest_of, with_ranks
from .placebo import Left, left_of
from .ranks import PairTest
from .recompute import recompute
from .record import PublishedNumber, Record, metric_of
from .rows import Row, find_ceiling, find_floor, label_of, second_floors, with_equals
from .stability import with_edges
from .statistics import Comparison, Interval, t_interval
from .teachers import EqualTeachers, TeacherChange, equal_teachers, teacher_changes, with_teachers
from .text import natural, seeds_text

DATA_DIFFERS = "the records were made from different prepared forms of the data"
"""Remark on a table, which its sentence repeats."""


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

    @property
    def brief(self) -> str:
        """`skipped (seeds 0, 1)`: a run prints the reasons below its tables, but for invalid records."""
        return self.text if self.status == "invalid" else f"{self.status} ({seeds_text(self.seeds)})"


@dataclass(frozen=True)
class AblationResult:
    """One row of an ablation table. `name` is empty for the method itself, `row` is None without a result.

    `comparison` is the difference to the method itself, None if the row has the same stages; its family are
    the rows of the table. `printed` are the numbers of the paper.
    """

    name: str
    options: Mapping[str, Any]
    row: Row | None = None
    absent: tuple[Absent, ...] = ()
    comparison: Comparison | None = None
    printed: tuple[PublishedNumber, ...] = ()


@dataclass(frozen=True)
class AblationTable:
    """A method compared with variants of itself, as in the ablation tables of its paper."""

    label: str
    rows: tuple[AblationResult, ...]


@dataclass(frozen=True)
class Board:
    """One board. `rows`: ranked rows by their mean, then the others; `remarks`: limits of the comparison.

    `smallest_gain`: smallest gain over the floor that its tests find with a probability of 80 %. `grouped`:
    whether whole groups of test samples are resampled. `pairs`: tests of all pairs of ranked rows. No rank, p
    or mean of `rows` depends on the ablations.
    """

    cell: CellInfo
    metric: Metric | None
    rows: tuple[Row, ...]
    absent: tuple[Absent, ...]
    floor: Row | None
    ceiling: Row | None
    seeds: tuple[int, ...]
    contrasts: tuple[Contrast, ...] = ()
    claims: tuple[Claim, ...] = ()
    remarks: tuple[str, ...] = ()
    ablations: tuple[AblationTable, ...] = ()
    smallest_gain: float | None = None
    grouped: bool = False
    equal_teachers: tuple[EqualTeachers, ...] = ()
    left: tuple[Left, ...] = ()
    teacher_changes: tuple[TeacherChange, ...] = ()
    pairs: tuple[PairTest, ...] = ()

    @property
    def title(self) -> str:
        values = f", {self.cell.value_set} values" if self.cell.value_set != "paper" else ""
        return f"{self.cell.dataset}, {self.cell.protocol}{values}"


def boards(records: Iterable[Record]) -> list[Board]:
    """All boards of the records, sorted; independent of the order of the records."""
    return [board_of(group) for group in grouped(records)]


def table_of(record: Record) -> str:
    """What the records of one table share."""
    c = record.cell
    data = [c.dataset, c.dataset_version, c.protocol, c.num_classes]
    shared = [*data, c.recipe_set, c.backbones, c.value_set, c.target, c.privileged]
    return json.dumps(shared, sort_keys=True)


def grouped(records: Iterable[Record]) -> list[list[Record]]:
    """The records of each table in which some cell has finished, the tables sorted."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(table_of(record), []).append(record)
    finished = {key for key, same in groups.items() if any(r.status == "done" for r in same)}
    return [groups[key] for key in sorted(finished, key=natural)]


def board_of(records: list[Record]) -> Board:
    """The board of one group of records."""
    ablated = [r for r in records if r.cell.ablation is not None]
    without = [r for r in records if r.cell.placebo or r.cell.matched_epochs]
    aside = {id(r) for r in (*ablated, *without)}
    main = [r for r in records if id(r) not in aside]
    if main:
        board = _main_board(main)
    else:
        board = Board(records[0].cell, _primary_metric(records), (), (), None, None, ())
    if without:
        board = _with_left(board, without)
    return dataclasses.replace(board, ablations=_ablation_tables(board, ablated))


def _main_board(records: list[Record]) -> Board:
    remarks: list[str] = []
    cells = _one_per_cell(records, remarks)
    metric = _primary_metric(cells)
    done, absent = _split(_without_copies(cells, remarks), metric)
    seeds = tuple(sorted({r.cell.seed for r in cells}))
    if metric is None or not done:
        return Board(cells[0].cell, metric, (), absent, None, None, seeds, remarks=tuple(remarks))
    rows = with_equals([_row(label, by_seed, metric) for label, by_seed in done.items()])
    paired = pair(rows, metric, remarks)
    rows, pairs = with_ranks(against_floor(rows, paired), paired)
    rows = with_teachers(rows, metric)
    for row in rows:
        lacking = sorted(set(seeds) - set(row.seeds))
        if lacking:
            remarks.append(
                f"{row.label} lacks {seeds_text(lacking)}; compared with others on the seeds that both have"
            )
    for row in second_floors(rows):
        remarks.append(f"{row.label} is a second floor; nothing is compared with it")
    if len({r.digests.data for row in rows for r in row.records if r.digests}) > 1:
        remarks.append(DATA_DIFFERS)
    rows = with_edges(rows, paired)
    against = contrasts(rows, paired)
    return Board(
        rows[0].cell,
        metric,
        tuple(rows),
        absent,
        find_floor(rows),
        find_ceiling(rows, metric),
        seeds,
        tuple(against),
        tuple(claims(rows, against)),
        tuple(remarks),
        smallest_gain=smallest_of(rows, paired),
        grouped=paired.grouped,
        equal_teachers=tuple(equal_teachers(rows, paired)),
        teacher_changes=tuple(teacher_changes(rows, paired)),
        pairs=pairs,
    )


def _with_left(board: Board, records: list[Record]) -> Board:
    """The board with placebos and floors of matched compute, which change nothing else of it."""
    remarks: list[str] = []
    cells = _without_copies(_one_per_cell(records, remarks), remarks)
    done, absent = _split(cells, board.metric)
    left: list[Left] = []
    if board.metric is not None and done:
        rows = [_row(label, by_seed, board.metric) for label, by_seed in sorted(done.items())]
        paired = pair([*board.rows, *rows], board.metric, [])
        left = left_of(board.rows, rows, board.floor, paired)
    return dataclasses.replace(
        board,
        absent=(*board.absent, *absent),
        remarks=(*board.remarks, *remarks),
        left=tuple(left),
    )


def _row(label: str, by_seed: dict[int, Record], metric: Metric) -> Row:
    records = tuple(by_seed[seed] for seed in sorted(by_seed))
    # Papers also print results with all modalities at test, which are not comparable.
    count = len(records[0].cell.test_modalities)
    published = [p for p in _published(records) if len(p.test_modalities) == count]

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


# --- selection of records -----------------------------------------------------------------------------------


def _split(
    records: Iterable[Record], metric: Metric | None
) -> tuple[dict[str, dict[int, Record]], tuple[Absent, ...]]:
    """Finished records as label -> seed -> record, and the rows without a result."""
    done: dict[str, dict[int, Record]] = {}
    missing: dict[tuple[str, str, str], list[int]] = {}
    for record in records:
        label, seed = label_of(record.cell), record.cell.seed
        problem = _problem(record, metric) if record.status == "done" else None
        if record.status == "done" and problem is None:
            done.setdefault(label, {})[seed] = record
        else:
            status = "invalid" if problem else record.status
            missing.setdefault((label, status, problem or record.reason or ""), []).append(seed)
    return done, tuple(Absent(*key, tuple(sorted(missing[key]))) for key in sorted(missing))


def _one_per_cell(records: list[Record], remarks: list[str]) -> list[Record]:
    """One record per row and seed: finished before unfinished, then the newest; all seeds of one row key."""
    by_cell: dict[tuple[str, int], list[Record]] = {}
    for record in records:
        by_cell.setdefault((label_of(record.cell), record.cell.seed), []).append(record)
    selected = []
    for (label, seed), same in sorted(by_cell.items()):
        selected.append(max(same, key=_precedence) if len(same) > 1 else same[0])
        if len({r.cell_key for r in same}) > 1:
            remarks.append(f"{label} has {len(same)} records for seed {seed}; one counts: the newest")
    return _of_one_source(selected, remarks)


def _of_one_source(records: Iterable[Record], remarks: list[str]) -> list[Record]:
    """Records without seeds that other code or data than the newest of their row gave."""
    rows: dict[str, list[Record]] = {}
    for record in records:
        rows.setdefault(label_of(record.cell), []).append(record)
    kept = []
    for label, row in rows.items():
        known = [record for record in row if record.row_key is not None]
        if len({record.row_key for record in known}) < 2:
            kept += row
            continue
        newest = max(known, key=_precedence).row_key
        kept += [record for record in row if record.row_key in (None, newest)]
        older = [record.cell.seed for record in known if record.row_key != newest]
        whose = "other code or data than that of the newest"
        remarks.append(f"{label}: {seeds_text(older)} came from {whose}; not counted")
    return kept


def _without_copies(records: Iterable[Record], remarks: list[str]) -> list[Record]:
    """Records without those that have the predictions of another seed of the same row."""
    seen: dict[tuple[str, str], int] = {}
    kept = []
    for record in sorted(records, key=lambda r: r.cell.seed):
        label, seed = label_of(record.cell), record.cell.seed
        digest = record.digests.predictions if record.digests else ""
        first = seen.setdefault((label, digest), seed) if digest else seed
        if first == seed:
            kept.append(record)
        else:
            remarks.append(f"{label}: seed {seed} has the predictions of seed {first}; it does not count")
    return kept


def _precedence(r: Record) -> tuple[object, ...]:
    return r.status == "done", r.provenance.date, r.cell_key, r.model_dump_json()


def _primary_metric(records: list[Record]) -> Metric | None:
    """The most frequent primary metric of the finished cells."""
    found = [(r.primary, metric_of(r, r.primary)) for r in records if r.status == "done" and r.primary]
    names = Counter(name for name, metric in found if metric is not None)
    if not names:
        return None
    return dict(found)[min(names, key=lambda name: (-names[name], name))]


def _problem(record: Record, metric: Metric | None) -> str | None:
    """Reason to exclude a finished record from the board; None if it is valid."""
    if metric is None or metric.name not in record.metrics:
        return f"it has no {metric.title if metric else 'known metric'}"
    try:
        recompute(record)
    except RecordError as error:
        return error.message
    return None


# --- ablations ----------------------------------------------------------------------------------------------


def _ablation_tables(board: Board, records: Iterable[Record]) -> tuple[AblationTable, ...]:
    """Tables of the ablation records; the methods themselves are rows of `board`."""
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
    itself = next((row for row in board.rows if row.label == label), None)
    rows: dict[str, Row] = {}
    if metric is not None:
        for variant, by_seed in done.items():
            of_variant = tuple(by_seed[seed] for seed in sorted(by_seed))
            interval = t_interval([record.metrics[metric.name] for record in of_variant])
            rows[variant] = Row(variant, of_variant, interval)
    found = [AblationResult("", method.options, itself, tuple(a for a in board.absent if a.label == label))]
    by_name: dict[str, list[Record]] = {}
    for record in cells:
        by_name.setdefault(_ablation_row(record).row, []).append(record)
    for name in sorted(by_name, key=natural):
        cell = by_name[name][-1].cell
        absent = tuple(a for a in missing if a.label == label_of(cell))
        printed = _published(by_name[name])
        found.append(AblationResult(name, cell.options, rows.get(label_of(cell)), absent, printed=printed))
    if itself is not None and metric is not None and rows:
        paired = pair([itself, *rows.values()], metric, [])
        compared = [r for r in found if r.row is not None and not _same_stages(r.row, itself)]
        comparisons = paired.family([r.row for r in compared if r.row is not None], itself)
        by_row = {r.name: c for r, c in zip(compared, comparisons, strict=True)}
        found = [dataclasses.replace(r, comparison=by_row.get(r.name)) for r in found]
    return AblationTable(label, tuple(found))


def _ablation_row(record: Record) -> AblationRow:
    assert record.cell.ablation is not None, "a record of an ablation"
    return record.cell.ablation


def _same_stages(row: Row, itself: Row) -> bool:
    """Whether a row has the same stages as the method itself, so that a comparison is meaningless."""
    return all(
        {s.key for s in a.stages} == {s.key for s in b.stages}
        for a in row.records
        for b in itself.records
        if a.cell.seed == b.cell.seed
    )
