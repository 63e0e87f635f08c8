"""Two rows of a table, or two single records, compared: on the whole, by class and by group of test samples.

Rows are compared over seeds, with the test of `statistics` and the variance that all ranked rows of their
table have in common. Two records are two networks, not two methods: their interval is that of the choice of
test samples alone. Parts are recalls, and their intervals are simultaneous over the parts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ..errors import UnknownName, UsageError
from ..metrics.builtin import METRICS
from .boards import Board
from .comparison import pair
from .record import Record, metric_of
from .resampling import Resampled, resample
from .statistics import Comparison, Difference, Prior, combine, compare, critical, paired, prior_of, two_sided


@dataclass(frozen=True)
class Part:
    """Recall of both on a class or a group of test samples, in percent, means over seeds."""

    number: int
    samples: int
    first: float
    second: float
    comparison: Comparison


@dataclass(frozen=True)
class Compared:
    """`first` minus `second`. `seeds`: whether the comparison is over seeds, not of two networks alone."""

    first: str
    second: str
    metric: str
    values: tuple[float, float]
    comparison: Comparison | None
    over_seeds: bool
    classes: tuple[Part, ...]
    groups: tuple[Part, ...]


def compare_rows(board: Board, first: str, second: str) -> Compared:
    """Two rows of a board, given by their labels; raises UnknownName, or UsageError without common seeds."""
    rows = {row.label: row for row in board.rows}
    for label in (first, second):
        if label not in rows:
            raise UnknownName(f"row of {board.title}", label, rows)
    one, other, metric = rows[first], rows[second], board.metric
    assert metric is not None, "a board with rows has a metric"
    of_table = [row for row in board.rows if row.rankable or row in (one, other)]
    samples = pair(of_table, metric, [])
    difference = samples.difference(one, other)
    if difference is None:
        raise UsageError(
            f"{first} and {second} have no seed with the same test samples in common",
            "run both with the same --seeds",
        )
    known = [samples.difference(a, b) for a, b in combinations(of_table, 2)]
    prior = prior_of([d for d in known if d is not None], methods=len(of_table) - 1)
    seeds = difference.seeds
    both = {r.label: {s: r.records[r.seeds.index(s)] for s in seeds} for r in (one, other)}
    values = tuple(float(np.mean([r.metrics[metric.name] for r in of.values()])) for of in both.values())
    classes, groups = _parts(both, over_seeds=True)
    comparison = compare(difference, prior)
    return Compared(first, second, metric.title, (values[0], values[1]), comparison, True, classes, groups)


def compare_records(first: Record, second: Record) -> Compared:
    """Two finished records with the same test samples; raises UsageError for others."""
    for record in (first, second):
        if record.samples is None or record.digests is None or record.primary is None:
            raise UsageError(f"a record of {record.cell.method} is {record.status}: it has no predictions")
    assert first.digests is not None
    assert second.digests is not None
    assert first.primary is not None
    a, b = first.cell, second.cell
    if (a.dataset, a.num_classes) != (
        b.dataset,
        b.num_classes,
    ) or first.digests.labels != second.digests.labels:
        raise UsageError(
            f"the records have other test samples: {a.dataset}, {a.protocol} and {b.dataset}, {b.protocol}",
            "compare records of one data set, split and direction",
        )
    metric = metric_of(first, first.primary)
    if metric is None or first.primary not in second.metrics:
        raise UsageError(f"the second record has no {first.primary}", "compare records of one data set")
    names = [f"{c.method}, seed {c.seed}" for c in (a, b)]
    names = names if names[0] != names[1] else [f"{name} ({i})" for i, name in enumerate(names, 1)]
    both = {name: {0: record} for name, record in zip(names, (first, second), strict=True)}
    values = (first.metrics[metric.name], second.metrics[metric.name])
    comparison = None
    if metric.recomputable:
        found = _resampled(both, metric.name)
        difference = paired(found[names[0]], found[names[1]], higher_is_better=metric.higher_is_better)
        comparison = None if difference is None else of_networks(difference)
    classes, groups = _parts(both, over_seeds=False)
    return Compared(names[0], names[1], metric.title, values, comparison, False, classes, groups)


def recalls(record: Record) -> list[dict[str, float]]:
    """Number of test samples of each class, and the share of them that is recognised, in percent."""
    if record.samples is None:
        return []
    labels, predicted = record.samples.unpack()
    return [
        {"class": int(c), "samples": int(of.sum()), "recall": 100 * float((predicted[of] == c).mean())}
        for c, of in ((c, labels == c) for c in np.unique(labels))
    ]


def of_networks(difference: Difference, family: int = 1) -> Comparison:
    """The test of one difference of two networks over test units, as one of `family`."""
    value, seeds = difference.value, difference.seeds
    found = combine(0.0, math.inf, difference.sampling, difference.units)
    if found is None or not math.isfinite(found[1]):
        return Comparison(value, None, None, None, None, seeds)
    error, df = found
    half, p = critical(df, family) * error, two_sided(value / error, df)
    return Comparison(value, value - half, value + half, p, min(1.0, family * p), seeds)


Both = Mapping[str, Mapping[int, Record]]


def _parts(both: Both, *, over_seeds: bool) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """Recalls by class, and by group where all records name the same groups."""
    records = [record for of in both.values() for record in of.values()]
    unpacked = [r.samples.unpack() for r in records if r.samples is not None]
    named = [None if r.samples is None else r.samples.unpack_groups() for r in records]
    known = sorted({int(c) for labels, _ in unpacked for c in labels})
    classes = [{seed: _labels(r) == c for seed, r in _first(both).items()} for c in known]
    groups: list[dict[int, np.ndarray]] = []
    same = all(g is not None and named[0] is not None and np.array_equal(g, named[0]) for g in named)
    if same and named[0] is not None and len(found := np.unique(named[0])) > 1:
        groups = [dict.fromkeys(_first(both), named[0] == g) for g in found]
    return (
        _family(both, known, classes, over_seeds=over_seeds),
        _family(both, list(range(len(groups))), groups, over_seeds=over_seeds),
    )


def _family(
    both: Both, numbers: Sequence[int], masks: Sequence[Mapping[int, np.ndarray]], *, over_seeds: bool
) -> tuple[Part, ...]:
    """A comparison for each mask of test samples, one family."""
    parts = []
    for number, mask in zip(numbers, masks, strict=True):
        of_seed = {seed: m for seed, m in mask.items() if m.any()}
        one, other = _resampled(both, "accuracy", of_seed).values()
        difference = paired(one, other)
        assert difference is not None, "both have these seeds"
        count = int(min(m.sum() for m in of_seed.values()))
        test = (
            compare(difference, Prior(0.0, 0.0), len(masks))
            if over_seeds
            else of_networks(difference, len(masks))
        )
        parts.append(Part(number, count, float(one.observed.mean()), float(other.observed.mean()), test))
    return tuple(parts)


def _resampled(both: Both, metric: str, mask: Mapping[int, np.ndarray] | None = None) -> dict[str, Resampled]:
    """The metric of both on their test samples, or on those of a mask for each seed."""
    first = _first(both)
    chosen = {seed: slice(None) if mask is None else mask[seed] for seed in (first if mask is None else mask)}
    groups = {}
    for seed, part in chosen.items():
        samples = first[seed].samples
        named = None if samples is None else samples.unpack_groups()
        if named is not None:
            groups[seed] = named[part]
    cell = next(iter(first.values())).cell
    return resample(
        {seed: _labels(first[seed])[part] for seed, part in chosen.items()},
        {name: {s: _predicted(of[s])[part] for s, part in chosen.items()} for name, of in both.items()},
        METRICS[metric],
        num_classes=cell.num_classes,
        positive=cell.positive_class,
        test_sets={seed: first[seed].digests.labels for seed in chosen},  # type: ignore[union-attr]
        groups=groups,
    )


def _first(both: Both) -> Mapping[int, Record]:
    return next(iter(both.values()))


def _labels(record: Record) -> np.ndarray:
    assert record.samples is not None
    return record.samples.unpack()[0]


def _predicted(record: Record) -> np.ndarray:
    assert record.samples is not None
    return record.samples.unpack()[1]
