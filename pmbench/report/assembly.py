"""From records to boards: which records count, which make up a row, which are missing and why."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence

from .ablation import ablations
from .boards import Board, Row, seeds_text
from .comparison import against_floor, contrasts, find_ceiling, find_floor, pair
from .metrics import METRICS, Metric
from .published import Published, published_for
from .record import Record
from .results import one_per_cell, primary_of, results
from .statistics import Interval, t_interval
from .text import natural


def boards(records: Iterable[Record], published: Sequence[Published] | None = None) -> list[Board]:
    """All boards that the records make up, by data set, protocol, backbones, recipe and values, whatever
    their order.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        c = record.cell
        key = [c.dataset, c.dataset_version, c.protocol, c.num_classes, c.recipe_set, c.backbones]
        key.append(c.value_set)
        groups.setdefault(json.dumps(key, sort_keys=True), []).append(record)
    return [_board(groups[key], published) for key in sorted(groups, key=natural)]


def _board(records: list[Record], published: Sequence[Published] | None) -> Board:
    ablated = [r for r in records if r.cell.ablation is not None]
    if len(ablated) == len(records):
        board = Board(records[0].cell, primary_of(records), (), (), None, None, ())
    else:
        board = _main_board([r for r in records if r.cell.ablation is None], published)
    return dataclasses.replace(board, ablations=ablations(board, ablated, published))


def _main_board(records: list[Record], published: Sequence[Published] | None) -> Board:
    remarks: list[str] = []
    cells = one_per_cell(records, remarks)
    metric = primary_of(cells)
    done, absent = results(cells, metric)
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


def _row(
    label: str, by_seed: dict[int, Record], metric: Metric, published: Sequence[Published] | None
) -> Row:
    records = tuple(by_seed[seed] for seed in sorted(by_seed))
    cell = records[0].cell

    def measured(name: str) -> tuple[Interval, tuple[Published, ...]]:
        printed = published_for(cell.method, cell.dataset, cell.protocol, name, published)
        # A paper also prints what its method reaches when it is given everything; that is another number.
        printed = tuple(p for p in printed if len(p.test_modalities) == len(cell.test_modalities))
        return t_interval([r.metrics[name] for r in records]), printed

    common = [name for name in METRICS if all(name in r.metrics for r in records)]
    interval, printed = measured(metric.name)
    others = {name: measured(name) for name in common if name != metric.name}
    return Row(label, records, interval, published=printed, others=others)
