"""Tests of all pairs, ranks as intervals, and the probability of being the best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from .resampling import Resampled, normal
from .statistics import LEVEL, Difference, compare, holm, paired, prior_of

BEST_STREAM = 500
"""Stream of `normal` for the probability of being the best."""


@dataclass(frozen=True)
class Rank:
    """Rank `low` to `high` of `count` methods. `best`: probability of having the best true mean, or None.

    `low` is 1 + the number of methods that are significantly better, `high` is `count` minus the number that
    are significantly worse.
    """

    low: int
    high: int
    count: int
    best: float | None = None


@dataclass(frozen=True)
class PairTest:
    """Mean difference of two methods in points, positive if `first` is better.

    `p`: Holm-corrected over all pairs; None where nothing can be tested.
    """

    first: str
    second: str
    difference: float
    p: float | None

    @property
    def significant(self) -> bool:
        return self.p is not None and self.p < LEVEL


@dataclass(frozen=True)
class Ranking:
    """Ranks by label, and the tests that they come from: all pairs with a common seed."""

    ranks: dict[str, Rank]
    pairs: tuple[PairTest, ...]


def ranking(methods: Mapping[str, Resampled], *, higher_is_better: bool = True) -> Ranking:
    """Ranks from tests of all pairs, Holm-corrected over the pairs.

    So all ranks together are right with 95 % probability. `methods` are in any order.
    """
    labels = list(methods)
    found = {
        (one, other): paired(methods[one], methods[other], higher_is_better=higher_is_better)
        for one, other in combinations(labels, 2)
    }
    known: dict[tuple[str, str], Difference] = {pair: d for pair, d in found.items() if d is not None}
    prior = prior_of(known.values(), methods=len(labels) - 1)
    corrected = holm([compare(d, prior).p for d in known.values()])
    tests = [PairTest(*pair, d.value, p) for (pair, d), p in zip(known.items(), corrected, strict=True)]
    better, worse = dict.fromkeys(labels, 0), dict.fromkeys(labels, 0)
    for test in tests:
        if test.significant:
            pair = test.first, test.second
            winner, loser = pair if test.difference > 0 else pair[::-1]
            worse[winner] += 1  # one more method is worse than the winner
            better[loser] += 1
    best = _probability_of_best(methods, prior.variance, prior.df, higher_is_better)
    n = len(labels)
    ranks = {m: Rank(1 + better[m], n - worse[m], n, best.get(m)) for m in labels}
    return Ranking(ranks, tuple(tests))


def rank_intervals(methods: Mapping[str, Resampled], *, higher_is_better: bool = True) -> dict[str, Rank]:
    """The ranks of `ranking` alone."""
    return ranking(methods, higher_is_better=higher_is_better).ranks


def _probability_of_best(
    methods: Mapping[str, Resampled], variance: float, prior_df: float, higher_is_better: bool
) -> dict[str, float]:
    """Share of seeded draws of the model of the tests in which a method is the best.

    A draw of the vector of means is the observed one plus (e + b) / sqrt(chi^2 / df): e is normal with the
    covariance over seeds, moderated towards independent methods of equal variance, b is the deviation of a
    bootstrap resample. Methods that lack a seed of the others take no part.
    """
    seeds = max((m.seeds for m in methods.values()), key=lambda s: (len(s), s), default=())
    labels = [label for label, m in methods.items() if m.seeds == seeds]
    count = len(seeds)
    if count < 2 or len(labels) < 2:
        return {}
    values = np.stack([methods[label].observed for label in labels], 1)  # S M
    sampled = [methods[label].draws for label in labels]
    draws = [d.mean(1) for d in sampled if d is not None]
    resamples = len(draws[0]) if draws else 2000
    df = prior_df + count - 1
    width = count + len(labels)  # normal numbers of one draw: seeds, prior
    numbers = normal(resamples * width, BEST_STREAM).reshape(resamples, width)
    own = numbers[:, :count] @ (values - values.mean(0))  # covariance (S - 1) Sigma
    common = numbers[:, count : count + len(labels)] * np.sqrt(prior_df * variance / 2)
    errors = (own + common) / np.sqrt(df * count)
    if len(draws) == len(labels):
        units = min(methods[label].units for label in labels)
        boot = np.stack(draws, 1)
        errors += (boot - boot.mean(0)) * np.sqrt(units / (units - 1) if units > 1 else 1.0)
    errors /= np.sqrt(_chi_square(resamples, df) / df)[:, None]
    means = (1 if higher_is_better else -1) * values.mean(0) + errors
    means = np.round(means, 9)  # equal methods share a draw on every machine
    top = means == means.max(1, keepdims=True)
    shares = (top / top.sum(1, keepdims=True)).mean(0)
    return {label: round(float(share), 9) for label, share in zip(labels, shares, strict=True)}


def _chi_square(count: int, df: float) -> np.ndarray:
    """(count,) quantiles of chi^2 at evenly spaced probabilities, in a fixed random order."""
    from scipy.special import chdtri

    order = np.argsort(normal(count, BEST_STREAM + 1), kind="stable")
    return chdtri(df, (order + 0.5) / count)
