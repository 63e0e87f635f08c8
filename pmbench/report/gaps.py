"""Gap recovered, (method - floor) / (ceiling - floor), with the interval of Fieller (1954).

A share r lies in the interval if the test of statistics.py does not reject that gain - r gap is 0, so that
the interval excludes 0 if and only if the gain is significant. The variance of gain - r gap is a quadratic in
r, from the covariances of gain and gap over seeds (moderated) and over resampled test units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .resampling import Resampled
from .statistics import Prior, combine, common_seeds, critical, unit_variance

SMALLEST_GAP = 1.0
"""Smallest difference of ceiling and floor, in points, for which the gap recovered is reported."""


@dataclass(frozen=True)
class Gap:
    """Share of the gap from floor to ceiling, 1 = ceiling; without interval if it would be unbounded."""

    value: float
    low: float | None
    high: float | None
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Pair:
    """Gain and gap in points. `covariance`: (Var gain, Cov, Var gap) of their errors, None if unknown.

    `df`: degrees of freedom of the error of the gain.
    """

    gain: float
    gap: float
    covariance: tuple[float, float, float] | None
    df: float
    seeds: tuple[int, ...]


def gain_and_gap(
    method: Resampled, floor: Resampled, ceiling: Resampled, prior: Prior, *, higher_is_better: bool = True
) -> Pair | None:
    """Gain and gap on common seeds, None if there are none.

    `prior` is the common variance of the difference of two methods. The prior of (gain, gap) is that of
    three methods with independent errors: the gap has the same variance, the covariance is half of it.
    """
    seeds = common_seeds(method, floor, ceiling)
    if not seeds:
        return None
    sign = 1 if higher_is_better else -1
    method, floor, ceiling = method.at(seeds), floor.at(seeds), ceiling.at(seeds)
    both = sign * np.stack([method.observed - floor.observed, ceiling.observed - floor.observed])  # 2 S
    gain, gap = (float(x) for x in both.mean(1))
    count, sampling, units = len(seeds), np.zeros(3), None
    if count < 2:
        return Pair(gain, gap, None, 0.0, seeds)
    if method.draws is not None and floor.draws is not None and ceiling.draws is not None:
        units = method.units
        draws = np.stack([method.draws - floor.draws, ceiling.draws - floor.draws]).mean(2)
        a, b = (unit_variance(x, units) for x in draws)
        # Cov(x, y) = (Var(x) + Var(y) - Var(x - y)) / 2
        c = (a + b - unit_variance(draws[0] - draws[1], units)) / 2
        sampling = np.array([a, c, b])
    df = prior.df + count - 1
    common = prior.variance * np.array([1.0, 0.5, 1.0])
    moderated = (prior.df * common + (count - 1) * np.cov(both)[[0, 0, 1], [0, 1, 1]]) / df / count
    found = combine(float(moderated[0]), df, float(sampling[0]), units)
    if found is None:
        return Pair(gain, gap, None, 0.0, seeds)
    return Pair(gain, gap, _triple(moderated + sampling), found[1], seeds)


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


def gap_recovered(pair: Pair | None, family: int = 1) -> Gap | None:
    """The share with its interval, adjusted for `family` shares; None if the gap is below SMALLEST_GAP."""
    if pair is None or pair.gap < SMALLEST_GAP:
        return None
    value = pair.gain / pair.gap
    if pair.covariance is None:
        return Gap(value, None, None, pair.seeds)
    low, high = fieller(pair.gain, pair.gap, pair.covariance, critical(pair.df, family)) or (None, None)
    return Gap(value, low, high, pair.seeds)


def mean_pair(pairs: Sequence[Pair], weights: Sequence[float]) -> Pair:
    """Weighted mean of independent pairs; the degrees of freedom are the smallest of them."""
    gain = float(sum(w * p.gain for w, p in zip(weights, pairs, strict=True)))
    gap = float(sum(w * p.gap for w, p in zip(weights, pairs, strict=True)))
    known = [p.covariance for p in pairs if p.covariance is not None]
    covariance = None
    if len(known) == len(pairs):
        squares = np.square(weights)[:, None]
        covariance = _triple((squares * np.array(known)).sum(0))
    return Pair(gain, gap, covariance, min(p.df for p in pairs), pairs[0].seeds)


def fieller(
    gain: float, gap: float, covariance: tuple[float, float, float], factor: float
) -> tuple[float, float] | None:
    """Limits of all r with |gain - r gap| <= factor * standard error; None if these r are unbounded."""
    squared = factor**2
    a = gap**2 - squared * covariance[2]
    b = gain * gap - squared * covariance[1]
    c = gain**2 - squared * covariance[0]
    if a <= 0:
        return None
    root = float(np.sqrt(max(0.0, b**2 - a * c)))  # the estimate itself satisfies the inequality
    return float((b - root) / a), float((b + root) / a)
