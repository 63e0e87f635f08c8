"""Bootstrap of a metric over test samples, for many methods on the same draws.

Draws come from raw bits of a seeded PCG64, the only stream of random numbers that numpy guarantees not to
change, and sample counts are whole numbers that float32 represents exactly. So the same records give the same
board on every machine.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..metrics.builtin import Metric
from ..metrics.counts import Counts

RESAMPLES = 2000
STREAM = 1511_03643
BLOCK = 2_000_000
"""Largest number of weights in memory: resamples x samples."""


@dataclass(frozen=True)
class Resampled:
    """A metric of one method for S seeds: `observed` (S,), and `draws` (B, S) on B resamples of its samples.

    `draws` is None for a metric that is not a function of labels and predicted classes.
    """

    seeds: tuple[int, ...]
    observed: np.ndarray
    draws: np.ndarray | None

    @classmethod
    def of_values(cls, values: Mapping[int, float]) -> Resampled:
        """From one value per seed, without draws."""
        seeds = tuple(sorted(values))
        return cls(seeds, np.array([values[s] for s in seeds], float), None)

    def at(self, seeds: tuple[int, ...]) -> Resampled:
        """Restricted to some seeds, in the given order."""
        columns = [self.seeds.index(s) for s in seeds]
        draws = None if self.draws is None else self.draws[:, columns]
        return Resampled(seeds, self.observed[columns], draws)


def resample(
    labels: Mapping[int, np.ndarray],
    predicted: Mapping[str, Mapping[int, np.ndarray]],
    metric: Metric,
    *,
    num_classes: int,
    positive: int = 1,
    test_sets: Mapping[int, Hashable] | None = None,
    resamples: int = RESAMPLES,
) -> dict[str, Resampled]:
    """`metric` of every method on bootstrap samples of the test part, with the same draws for all methods.

    `labels[seed]` and `predicted[method][seed]` are (N,). Seeds with equal entries in `test_sets` have the
    same test samples and draws; without `test_sets` all seeds do. Raises ValueError for a metric without
    `of_counts`.
    """
    if metric.of_counts is None:
        raise ValueError(f"metric {metric.name!r} is not a function of labels and predicted classes")
    values: dict[tuple[str, int], tuple[float, np.ndarray]] = {}
    groups: dict[Hashable, list[int]] = {}
    for seed in sorted(labels):
        groups.setdefault(test_sets[seed] if test_sets else None, []).append(seed)
    for stream, seeds in enumerate(groups.values()):
        runs = [(name, seed) for name in predicted for seed in seeds if seed in predicted[name]]
        if not runs:
            continue
        stacked = np.stack([predicted[name][seed] for name, seed in runs])
        observed, draws = _resample_runs(
            labels[seeds[0]], stacked, metric, num_classes, positive, resamples, stream
        )
        values.update({run: (observed[i], draws[:, i]) for i, run in enumerate(runs)})
    result = {}
    for name in predicted:
        seeds = sorted(predicted[name])
        columns = [values[name, seed] for seed in seeds]
        result[name] = Resampled(
            tuple(seeds), np.array([c[0] for c in columns]), np.stack([c[1] for c in columns], 1)
        )
    return result


def _resample_runs(
    labels: np.ndarray,
    predicted: np.ndarray,
    metric: Metric,
    num_classes: int,
    positive: int,
    resamples: int,
    stream: int,
) -> tuple[np.ndarray, np.ndarray]:
    """labels (N,), predicted (R, N) -> metric (R,), and on resampled samples (B, R)."""
    order = np.argsort(labels, kind="stable")  # by class, so that its hits are one small matrix product
    labels, predicted = labels[order], predicted[:, order]
    hit = (predicted == labels).T.astype(np.float32)  # N R
    bounds = np.searchsorted(labels, np.arange(num_classes + 1))

    def evaluate(weights: np.ndarray) -> np.ndarray:
        support = np.zeros((len(weights), 1, num_classes))
        hits = np.zeros((len(weights), len(predicted), num_classes))
        for c in range(num_classes):
            part = slice(bounds[c], bounds[c + 1])
            support[:, 0, c] = weights[:, part].sum(1)
            hits[:, :, c] = weights[:, part] @ hit[part]
        called = None
        if metric.looks_at_called:
            classes = np.arange(num_classes)
            by_run = [weights @ (row[:, None] == classes).astype(np.float32) for row in predicted]
            called = np.stack(by_run, 1).astype(float)
        assert metric.of_counts is not None
        return metric.of_counts(Counts(support, hits, called), positive)

    observed = evaluate(np.ones((1, len(labels)), np.float32))[0]
    bits = np.random.PCG64([STREAM, stream])
    rows = max(1, BLOCK // len(labels))
    blocks = [
        evaluate(_bootstrap_weights(bits, min(rows, resamples - start), len(labels)))
        for start in range(0, resamples, rows)
    ]
    draws = np.concatenate(blocks)
    # A resample without a class that a rate needs takes the observed value.
    return observed, np.where(np.isnan(draws), observed, draws)


def _bootstrap_weights(bits: np.random.PCG64, rows: int, samples: int) -> np.ndarray:
    """(rows, samples) float32: counts of each sample in `samples` draws with replacement."""
    raw = bits.random_raw((rows * samples + 1) // 2).view(np.uint32)[: rows * samples]
    drawn = (raw.astype(np.uint64) * np.uint64(samples)) >> np.uint64(32)
    cells = drawn.astype(np.int64).reshape(rows, samples) + np.arange(rows)[:, None] * samples
    counts = np.bincount(cells.ravel(), minlength=rows * samples)
    return counts.reshape(rows, samples).astype(np.float32)


@lru_cache(maxsize=32)
def seed_weights(seeds: int, resamples: int = RESAMPLES) -> np.ndarray:
    """(B, S) weights g that sum to 0 over seeds; g @ x are draws of the error of the mean of x (S,).

    g @ x is distributed as s / sqrt(S) times a t variable with S - 1 degrees of freedom.
    """
    if seeds < 2:
        return np.zeros((resamples, seeds))
    normal = _normal(resamples * (2 * seeds - 1), seeds).reshape(resamples, 2 * seeds - 1)
    contrast = normal[:, :seeds] - normal[:, :seeds].mean(1, keepdims=True)
    chi_square = (normal[:, seeds:] ** 2).sum(1, keepdims=True)  # S - 1 degrees of freedom
    return contrast / np.sqrt(seeds * chi_square)


def _normal(count: int, stream: int) -> np.ndarray:
    """(count,) standard normal numbers, by Box-Muller."""
    raw = np.random.PCG64([STREAM, 1000 + stream]).random_raw(2 * count)
    uniform = ((raw >> np.uint64(11)).astype(float) + 0.5) * 2.0**-53
    return np.sqrt(-2 * np.log(uniform[:count])) * np.cos(2 * np.pi * uniform[count:])
