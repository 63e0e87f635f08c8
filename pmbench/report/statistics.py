"""Intervals, paired tests and ranks, in numpy and deterministic.

A difference between two methods has two sources of error: the choice of test samples and the choice of seeds.
Test samples are resampled, with the same draws for both methods. A handful of seeds is too few to resample;
instead, the variance between seeds that the resampled test samples do not explain enters as a Student t error
with S - 1 degrees of freedom. At level 5 % simulated null differences are rejected in 2 to 9 % of cases with
3 and 5 seeds, without and with an effect of the seed; resampling samples and seeds together rejects 0 to 8 %,
and hardly ever without such an effect. With one seed only the samples vary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from .resampling import Resampled, seed_weights

LEVEL = 0.05
SMALLEST_GAP = 1.0
"""Smallest difference of ceiling and floor, in points, for which the gap recovered is reported."""


@dataclass(frozen=True)
class Interval:
    """Mean of `count` values with 95 % interval mean - half .. mean + half; `half` is None for one value."""

    mean: float
    half: float | None
    count: int


@dataclass(frozen=True)
class Comparison:
    """Difference of two methods in points on their common seeds, positive if the first is better.

    `low`, `high`: 95 % interval. `p`: two-sided. All None for a single seed without predictions, which has
    nothing to resample.
    """

    difference: float
    low: float | None
    high: float | None
    p: float | None
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Gap:
    """Share of the gap from floor to ceiling, 1 = ceiling; no interval if the gap may be zero."""

    value: float
    low: float | None
    high: float | None
    seeds: tuple[int, ...]


def t_interval(values: Sequence[float]) -> Interval:
    """Mean of the values with Student's 95 % interval."""
    from scipy.special import stdtrit  # slow to import

    n = len(values)
    mean = float(np.mean(values))
    if n < 2:
        return Interval(mean, None, n)
    half = stdtrit(n - 1, 1 - LEVEL / 2) * np.std(values, ddof=1) / np.sqrt(n)
    return Interval(mean, float(half), n)


def common_seeds(*methods: Resampled) -> tuple[int, ...]:
    shared = set(methods[0].seeds).intersection(*(m.seeds for m in methods[1:]))
    return tuple(s for s in methods[0].seeds if s in shared)


def compare(first: Resampled, second: Resampled, *, higher_is_better: bool = True) -> Comparison | None:
    """`first` against `second` on their common seeds; None if they have none."""
    seeds = common_seeds(first, second)
    if not seeds:
        return None
    sign = 1 if higher_is_better else -1
    difference, draws = _difference(first.at(seeds), second.at(seeds), sign)
    if draws is None:
        return Comparison(difference, None, None, None, seeds)
    extreme = np.abs(draws - difference) >= abs(difference) - 1e-9
    low, high = np.quantile(draws, [0.025, 0.975])
    return Comparison(difference, float(low), float(high), (1 + int(extreme.sum())) / (1 + len(draws)), seeds)


def gap_recovered(
    method: Resampled, floor: Resampled, ceiling: Resampled, *, higher_is_better: bool = True
) -> Gap | None:
    """(method - floor) / (ceiling - floor) on common seeds; None if the gap is below SMALLEST_GAP.

    Has no interval if more than 2.5 % of the resampled gaps are not positive.
    """
    seeds = common_seeds(method, floor, ceiling)
    if not seeds:
        return None
    sign = 1 if higher_is_better else -1
    method, floor, ceiling = method.at(seeds), floor.at(seeds), ceiling.at(seeds)
    gain, gain_draws = _difference(method, floor, sign)
    gap, gap_draws = _difference(ceiling, floor, sign)
    if gap < SMALLEST_GAP:
        return None
    if gain_draws is None or gap_draws is None or np.mean(gap_draws <= 0) > 0.025:
        return Gap(gain / gap, None, None, seeds)
    positive = gap_draws > 0
    low, high = np.quantile(gain_draws[positive] / gap_draws[positive], [0.025, 0.975])
    return Gap(gain / gap, float(low), float(high), seeds)


def _difference(first: Resampled, second: Resampled, sign: int) -> tuple[float, np.ndarray | None]:
    """Mean difference over the S seeds, and draws of it (B,), or None."""
    by_seed = sign * (first.observed - second.observed)
    mean = float(by_seed.mean())
    count = len(by_seed)
    if first.draws is None or second.draws is None:
        return mean, mean + seed_weights(count) @ by_seed if count > 1 else None
    sampled = sign * (first.draws - second.draws)
    draws = sampled.mean(1)
    between = by_seed.var(ddof=1) if count > 1 else 0.0
    if between > 0:
        # `draws` holds the variance between seeds that the test samples explain.
        explained = (sampled - draws[:, None]).var(0).sum() / (count - 1)
        share = np.sqrt(max(0.0, 1 - explained / between))
        draws = draws + share * (seed_weights(count, len(draws)) @ by_seed)
    return mean, draws


def mcnemar(first_only: int, second_only: int) -> tuple[float, float]:
    """Two-sided p of McNemar's test, exact and mid-p; numbers of samples that only one method gets right."""
    n, k = first_only + second_only, min(first_only, second_only)
    if n == 0:
        return 1.0, 1.0
    at = total = 1  # binomial coefficients of n over 0, 1, ..., k and their sum, exactly
    for i in range(1, k + 1):
        at = at * (n - i + 1) // i
        total += at
    below, mid = Fraction(2 * total, 2**n), Fraction(2 * total - at, 2**n)
    return min(1.0, float(below)), min(1.0, float(mid))


def discordant(
    labels: Mapping[int, np.ndarray], first: Mapping[int, np.ndarray], second: Mapping[int, np.ndarray]
) -> tuple[int, int]:
    """Numbers of samples that only the first, and only the second, gets right, summed over common seeds."""
    only_first = only_second = 0
    for seed in first.keys() & second.keys():
        a, b = first[seed] == labels[seed], second[seed] == labels[seed]
        only_first += int((a & ~b).sum())
        only_second += int((b & ~a).sum())
    return only_first, only_second


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values after Holm's step-down correction; None stays None and is not counted."""
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for position, (p, i) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - position) * p))
        corrected[i] = largest
    return corrected


def rank_groups(best_first: Sequence[str], p_value: Callable[[str, str], float | None]) -> dict[str, int]:
    """Ranks of methods, shared by methods without a significant difference.

    A group is its best method and the following ones, up to the first whose difference to the best is
    significant (Holm-corrected over all following methods). A rank is one plus the number of methods in
    better groups.
    """
    ranks: dict[str, int] = {}
    rest = list(best_first)
    while rest:
        best, others = rest[0], rest[1:]
        corrected = holm([p_value(best, other) for other in others])
        same = next((i for i, p in enumerate(corrected) if p is not None and p < LEVEL), len(others))
        rank = len(ranks) + 1
        ranks.update(dict.fromkeys(rest[: same + 1], rank))
        rest = rest[same + 1 :]
    return ranks


def mean_over_datasets(values: Iterable[tuple[str, float]]) -> tuple[float, int] | None:
    """(data set, value) pairs -> mean over data sets of their means, and the number of data sets."""
    by_dataset: dict[str, list[float]] = {}
    for dataset, value in values:
        by_dataset.setdefault(dataset, []).append(value)
    if not by_dataset:
        return None
    return float(np.mean([np.mean(v) for v in by_dataset.values()])), len(by_dataset)
