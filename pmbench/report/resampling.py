"""Bootstrap of a metric over the units of the test part, for many methods on the same draws.

A unit is a test sample, or a whole group of samples that are not independent: all windows of one subject.
Draws come from raw bits of a seeded PCG64, the only stream of random numbers that numpy guarantees not to
change, and counts are whole numbers that float32 represents exactly. So the same records give the same board
on every machine.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np

from ..metrics.builtin import Metric
from ..metrics.counts import Counts

RESAMPLES = 2000
STREAM = 1511_03643
BLOCK = 2_000_000
"""Largest number of weights in memory: resamples x units."""


@dataclass(frozen=True)
class Resampled:
    """A metric of one method for S seeds: `observed` (S,), and `draws` (B, S) on B resamples of its units.

    `draws` is None for a metric that is not a function of labels and predicted classes. `units`: the smallest
    number of units of a test part.
    """

    seeds: tuple[int, ...]
    observed: np.ndarray
    draws: np.ndarray | None
    units: int = 0

    @classmethod
    def of_values(cls, values: Mapping[int, float]) -> Resampled:
        """From one value per seed, without draws."""
        seeds = tuple(sorted(values))
        return cls(seeds, np.array([values[s] for s in seeds], float), None)

    def at(self, seeds: tuple[int, ...]) -> Resampled:
        """Restricted to some seeds, in the given order."""
        columns = [self.seeds.index(s) for s in seeds]
        draws = None if self.draws is None else self.draws[:, columns]
        return Resampled(seeds, self.observed[columns], draws, self.units)


def resample(
    labels: Mapping[int, np.ndarray],
    predicted: Mapping[str, Mapping[int, np.ndarray]],
    metric: Metric,
    *,
    num_classes: int,
    positive: int = 1,
    test_sets: Mapping[int, Hashable] | None = None,
    groups: Mapping[int, np.ndarray] | None = None,
    resamples: int = RESAMPLES,
) -> dict[str, Resampled]:
    """`metric` of every method on bootstrap samples of the test part, with the same draws for all methods.

    `labels[seed]`, `predicted[method][seed]` and `groups[seed]`, the group of each sample, are (N,). Seeds
    with equal entries in `test_sets` have the same test samples, groups and draws; without `test_sets` all
    seeds do. Where there are at least two groups, these are drawn, otherwise samples. Raises ValueError for a
    metric without `of_counts`.
    """
    if metric.of_counts is None:
        raise ValueError(f"metric {metric.name!r} is not a function of labels and predicted classes")
    values: dict[tuple[str, int], tuple[float, np.ndarray, int]] = {}
    same_test: dict[Hashable, list[int]] = {}
    for seed in sorted(labels):
        same_test.setdefault(test_sets[seed] if test_sets else None, []).append(seed)
    for stream, seeds in enumerate(same_test.values()):
        runs = [(name, seed) for name in predicted for seed in seeds if seed in predicted[name]]
        if not runs:
            continue
        stacked = np.stack([predicted[name][seed] for name, seed in runs])
        named = [groups[seed] for seed in seeds if seed in groups] if groups else []
        units = _units(len(stacked[0]), named[0] if named else None)
        tables = _Tables.of(labels[seeds[0]], stacked, units, metric, num_classes)
        observed, draws = _resample_runs(tables, metric, positive, resamples, stream)
        count = int(units.max()) + 1
        values.update({run: (observed[i], draws[:, i], count) for i, run in enumerate(runs)})
    result = {}
    for name in predicted:
        found = [values[name, seed] for seed in sorted(predicted[name])]
        observed, draws = np.array([f[0] for f in found]), np.stack([f[1] for f in found], 1)
        result[name] = Resampled(tuple(sorted(predicted[name])), observed, draws, min(f[2] for f in found))
    return result


def _units(count: int, groups: np.ndarray | None) -> np.ndarray:
    """(N,) number of the unit of each sample."""
    if groups is None:
        return np.arange(count)
    units = np.unique(groups, return_inverse=True)[1]
    return units if units.max() > 0 else np.arange(count)


@dataclass(frozen=True)
class _Tables:
    """Counts by class of K, for each of U units: `support`, and of R runs `hits` and `called`, (K, U, R)."""

    support: tuple[np.ndarray, ...]
    hits: tuple[np.ndarray, ...]
    called: tuple[np.ndarray, ...] | None
    members: tuple[np.ndarray, ...]
    units: int

    @classmethod
    def of(
        cls, labels: np.ndarray, predicted: np.ndarray, units: np.ndarray, metric: Metric, num_classes: int
    ) -> _Tables:
        """labels (N,), predicted (R, N), units (N,)."""
        count = int(units.max()) + 1
        members, support, hits = [], [], []
        for c in range(num_classes):
            rows = np.flatnonzero(labels == c)
            present, at = np.unique(units[rows], return_inverse=True)  # units that have samples of the class
            members.append(present)
            support.append(np.bincount(at, minlength=len(present)).astype(np.float32))
            hits.append(_sum_by((predicted[:, rows] == c).T, at, len(present)))
        called = None
        if metric.looks_at_called:
            called = tuple(_sum_by((predicted == c).T, units, count) for c in range(num_classes))
        return cls(tuple(support), tuple(hits), called, tuple(members), count)

    def counts(self, weights: np.ndarray) -> Counts:
        """Counts (B, R, K) where each unit counts as often as weights (B, U) say."""
        support = [weights[:, m] @ s for m, s in zip(self.members, self.support, strict=True)]
        hits = [weights[:, m] @ h for m, h in zip(self.members, self.hits, strict=True)]
        called = None
        if self.called is not None:
            called = np.stack([weights @ c for c in self.called], -1).astype(float)
        return Counts(np.stack(support, -1)[:, None].astype(float), np.stack(hits, -1).astype(float), called)


def _sum_by(values: np.ndarray, at: np.ndarray, count: int) -> np.ndarray:
    """(N, R) values -> (count, R) float32 sums over the rows with equal `at`."""
    if len(at) == count:  # every row is its own unit
        order = np.empty(count, int)
        order[at] = np.arange(count)
        return values[order].astype(np.float32)
    sums = np.zeros((count, values.shape[1]), np.float32)
    order = np.argsort(at, kind="stable")
    if len(order):
        starts = np.searchsorted(at[order], np.arange(count))
        sums[:] = np.add.reduceat(values[order].astype(np.float32), starts, axis=0)
    return sums


def _resample_runs(
    tables: _Tables, metric: Metric, positive: int, resamples: int, stream: int
) -> tuple[np.ndarray, np.ndarray]:
    """metric (R,), and on resampled units (B, R)."""
    assert metric.of_counts is not None
    observed = metric.of_counts(tables.counts(np.ones((1, tables.units), np.float32)), positive)[0]
    rows = max(1, BLOCK // tables.units)
    draws = []
    for start in range(0, resamples, rows):
        skipped = start // rows * _raw(rows, tables.units)
        weights = _bootstrap_weights(stream, skipped, min(rows, resamples - start), tables.units)
        draws.append(metric.of_counts(tables.counts(weights), positive))
    # A resample without a class that a rate needs takes the observed value.
    joined = np.concatenate(draws)
    return observed, np.where(np.isnan(joined), observed, joined)


def _raw(rows: int, samples: int) -> int:
    """How many raw numbers of 64 bits the weights of some rows take."""
    return (rows * samples + 1) // 2


@functools.lru_cache(maxsize=4)
def _bootstrap_weights(stream: int, skipped: int, rows: int, samples: int) -> np.ndarray:
    """(rows, samples) float32: counts of each sample in `samples` draws with replacement.

    The draws come from a stream without its first `skipped` numbers. Tables with as many samples share them.
    """
    bits = np.random.PCG64([STREAM, stream]).advance(skipped)
    raw = bits.random_raw(_raw(rows, samples)).view(np.uint32)[: rows * samples]
    drawn = (raw.astype(np.uint64) * np.uint64(samples)) >> np.uint64(32)
    cells = drawn.astype(np.int64).reshape(rows, samples) + np.arange(rows)[:, None] * samples
    counts = np.bincount(cells.ravel(), minlength=rows * samples)
    return counts.reshape(rows, samples).astype(np.float32)


def normal(count: int, stream: int) -> np.ndarray:
    """(count,) standard normal numbers, by Box-Muller."""
    raw = np.random.PCG64([STREAM, 1000 + stream]).random_raw(2 * count)
    uniform = ((raw >> np.uint64(11)).astype(float) + 0.5) * 2.0**-53
    return np.sqrt(-2 * np.log(uniform[:count])) * np.cos(2 * np.pi * uniform[count:])
