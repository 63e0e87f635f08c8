"""Means over the protocols of a data set that belong together: folds, splits, sub-protocols.

The folds of one seed are averaged first, then seeds are compared, so that the unit stays the seed. The test
parts of the protocols count as independent of each other.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..contracts.metric import Metric
from ..errors import plural
from .boards import Board
from .comparison import Paired, pair
from .record import PublishedNumber
from .rows import Row, find_floor
from .statistics import Comparison, Difference, Interval, common_seeds, compare_all, t_interval
from .statistics import paired as paired_difference
from .text import interval, points, printed_text


@dataclass(frozen=True)
class MeanRow:
    """A row on all boards of a mean; `row` is that of the first. `interval`: its mean result, over seeds.

    `gain`: over the floor, on the seeds of all protocols; None for the floor itself. `published` are the
    numbers of papers for the mean.
    """

    row: Row
    interval: Interval
    seeds: tuple[int, ...]
    gain: Comparison | None = None
    published: tuple[PublishedNumber, ...] = ()


@dataclass(frozen=True)
class MeanTable:
    """The mean over several boards. `missing`: protocols without a board; then it has no rows."""

    protocol: str
    boards: tuple[Board, ...]
    metric: Metric | None
    of: tuple[str, ...]
    missing: tuple[str, ...] = ()
    rows: tuple[MeanRow, ...] = ()
    floor: str | None = None

    @property
    def title(self) -> str:
        cell = self.boards[0].cell
        values = f", {cell.value_set} values" if cell.value_set != "paper" else ""
        return f"{cell.dataset}, {self.protocol}{values}"

    @property
    def sentence(self) -> str:
        """What it is the mean of, and what it lacks."""
        if self.missing:
            return f"no mean over {', '.join(self.of)}: {', '.join(self.missing)} not run"
        found = f"mean over {', '.join(self.of)}, on the seeds of all of them; ± over seeds"
        claims = [one for one in self.rows if one.row.competes and one.gain is not None]
        if not claims:
            return found
        better = sum(one.gain.better for one in claims if one.gain is not None)
        return f"{found}; {better} of {plural(len(claims), 'method')} significantly better than {self.floor}"

    @property
    def lines(self) -> list[list[str]]:
        """A heading and a line for each row: method, result, gain, seeds, the papers' numbers."""
        title = self.metric.title if self.metric else "result"
        found = [["method", title, f"gain over {self.floor or 'the floor'}", "seeds", "published"]]
        for one in self.rows:
            label = one.row.label + (f" ({one.row.marks[0]})" if one.row.marks else "")
            cells = [label, interval(one.interval), points(one.gain), str(len(one.seeds))]
            found.append([*cells, printed_text(one.published)])
        return found if self.rows else []


def mean_tables(boards: Sequence[Board]) -> list[MeanTable]:
    """The means that records of these boards belong to, in the order of the boards."""
    wanted: dict[str, tuple[str, tuple[str, ...], dict[str, Board]]] = {}
    for board in boards:
        for average in {
            a.protocol: a for row in board.rows for r in row.records for a in r.averages
        }.values():
            c = board.cell
            same = [c.dataset, c.dataset_version, c.num_classes, c.recipe_set, c.backbones, c.value_set]
            key = json.dumps([average.protocol, average.of, same], sort_keys=True)
            _, _, found = wanted.setdefault(key, (average.protocol, tuple(average.of), {}))
            found[c.protocol] = board
    return [_mean_table(*one) for one in wanted.values()]


def _mean_table(protocol: str, of: tuple[str, ...], boards: dict[str, Board]) -> MeanTable:
    found = [boards[name] for name in of if name in boards]
    metrics = {board.metric.name: board.metric for board in found if board.metric is not None}
    if len(found) < len(of) or len(metrics) != 1:
        missing = tuple(name for name in of if name not in boards)
        return MeanTable(protocol, tuple(found), None, of, missing)
    (metric,) = metrics.values()
    floor = find_floor(found[0].rows)
    paired = [pair(board.rows, metric, []) for board in found]
    rows, differences = [], []
    for row in found[0].rows:
        same = [r for board in found for r in board.rows if r.label == row.label]
        if len(same) < len(found) or not (one := _mean_row(same, metric, protocol)):
            continue
        rows.append(one)
        compared = floor is not None and row is not floor and row.rankable
        differences.append(_difference(row.label, floor.label, paired) if compared and floor else None)
    gains = compare_all(differences, [one.row.competes for one in rows])
    rows = [dataclasses.replace(one, gain=gain) for one, gain in zip(rows, gains, strict=True)]
    sign = -1 if metric.higher_is_better else 1
    rows.sort(key=lambda one: (not one.row.rankable, sign * one.interval.mean, one.row.label))
    label = None if floor is None else floor.label
    return MeanTable(protocol, tuple(found), metric, of, (), tuple(rows), label)


def _mean_row(same: Sequence[Row], metric: Metric, protocol: str) -> MeanRow | None:
    """The mean of the rows of several protocols on their common seeds; None if they have none."""
    seeds = sorted(set.intersection(*(set(row.seeds) for row in same)))
    if not seeds:
        return None
    found = [{r.cell.seed: r.metrics[metric.name] for r in row.records} for row in same]
    values = [float(np.mean([by_seed[seed] for by_seed in found])) for seed in seeds]
    first = same[0]
    printed = [n for r in first.records for a in r.averages if a.protocol == protocol for n in a.published]
    numbers = []
    for number in printed:
        comparable = number.metric == metric.name
        comparable &= len(number.test_modalities) == len(first.cell.test_modalities)
        if comparable and number not in numbers:
            numbers.append(number)
    return MeanRow(first, t_interval(values), tuple(seeds), published=tuple(numbers))


def _difference(label: str, floor: str, paired: Sequence[Paired]) -> Difference | None:
    """Mean over protocols of the difference to the floor; None without a common seed of all.

    Its sampling variance is that of a mean of independent test parts.
    """
    both = [(p.resampled.get(label), p.resampled.get(floor)) for p in paired]
    known = [(one, other) for one, other in both if one is not None and other is not None]
    seeds = common_seeds(*(resampled for pairs in known for resampled in pairs)) if known else ()
    if len(known) < len(paired) or not seeds:
        return None
    better = paired[0].metric.higher_is_better
    found = [
        paired_difference(one.at(seeds), other.at(seeds), higher_is_better=better) for one, other in known
    ]
    sign = 1 if better else -1
    by_seed = np.mean([sign * (one.at(seeds).observed - other.at(seeds).observed) for one, other in known], 0)
    between = float(by_seed.var(ddof=1)) if len(seeds) > 1 else None
    sampling = sum(d.sampling for d in found if d is not None) / len(found) ** 2
    units = [d.units for d in found if d is not None and d.units is not None]
    return Difference(float(by_seed.mean()), between, sampling, sum(units) or None, seeds)
