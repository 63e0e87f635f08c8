"""A method against itself with options changed, as in the ablation tables of its paper."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence

from .boards import AblationResult, AblationTable, Board, Row, label_of
from .comparison import pair
from .published import Published, printed_at
from .record import AblationRow, Record
from .results import one_per_cell, primary_of, results
from .statistics import holm, t_interval
from .text import natural


def ablations(
    board: Board, records: Iterable[Record], published: Sequence[Published] | None = None
) -> tuple[AblationTable, ...]:
    """What `records`, all of them rows of ablations, make up; the methods themselves are on `board`."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        key = json.dumps([record.cell.method, _told(record).of], sort_keys=True)
        groups.setdefault(key, []).append(record)
    return tuple(_ablation(board, groups[key], published) for key in sorted(groups))


def _ablation(board: Board, records: list[Record], published: Sequence[Published] | None) -> AblationTable:
    cells = one_per_cell(records, [])
    metric = board.metric or primary_of(cells)
    done, missing = results(cells, metric)
    method = cells[0].cell.model_copy(update={"ablation": None, "options": _told(cells[0]).of})
    label = label_of(method)
    whole = next((row for row in board.rows if row.label == label), None)
    rows: dict[str, Row] = {}
    if metric is not None:
        for row, by_seed in done.items():
            values = [by_seed[seed].metrics[metric.name] for seed in sorted(by_seed)]
            rows[row] = Row(row, tuple(by_seed[seed] for seed in sorted(by_seed)), t_interval(values))
    found = [AblationResult("", method.options, whole, tuple(a for a in board.absent if a.label == label))]
    told = {_told(r).row: r for r in cells}
    for name in sorted(told, key=natural):
        mine = label_of(told[name].cell)
        absent = tuple(a for a in missing if a.label == mine)
        printed = printed_at(_told(told[name]).printed, published)
        found.append(AblationResult(name, told[name].cell.options, rows.get(mine), absent, printed=printed))
    if whole is not None and metric is not None and rows:
        paired = pair([whole, *rows.values()], metric, [])
        compared = [r.row if r.row and not _same(r.row, whole) else None for r in found]
        against = [None if row is None else paired.compare(row, whole) for row in compared]
        corrected = holm([None if c is None else c.p for c in against])
        found = [
            dataclasses.replace(r, comparison=c, p=p)
            for r, c, p in zip(found, against, corrected, strict=True)
        ]
    return AblationTable(label, tuple(found))


def _told(record: Record) -> AblationRow:
    assert record.cell.ablation is not None, "a record of an ablation"
    return record.cell.ablation


def _same(row: Row, whole: Row) -> bool:
    """Whether a row is the method itself, trained once: nothing to compare, nothing to correct for."""
    return all(
        {s.key for s in mine.stages} == {s.key for s in its.stages}
        for mine in row.records
        for its in whole.records
        if mine.cell.seed == its.cell.seed
    )
