"""Paired tests of methods, their simultaneous intervals, and the smallest gain that they can find.

The unit is the seed, paired between the two methods. For a mean difference d over S seeds,

    t = d / sqrt(a + v),  a = s~^2 / S,  s~^2 = (d0 s0^2 + (S - 1) s^2) / (d0 + S - 1).

s^2 is the variance of the difference over seeds, s~^2 its moderation towards s0^2, the mean of s^2 over the
methods of the table (Smyth 2004, Statistical Applications in Genetics and Molecular Biology 3(1), article 3).
v is the bootstrap variance of d over the U independent units of the test part: samples, or whole groups where
it has groups. Seeds share these units, so that more seeds do not remove v. Nothing is ever subtracted: a
contains sample noise, too, which errs on the side of caution. t has d0 + S - 1 degrees of freedom, or fewer
where few units make v uncertain: (a + v)^2 / (a^2 / (d0 + S - 1) + v^2 / (U - 1)), as in Satterthwaite
(1946). His are never taken where they are more, since s^2 of three seeds may be tiny by chance.

Two departures from limma, both decided by simulation (docs/statistics.md). s0^2 is a mean, not a median: the
median calls noisy methods significant where the methods of a table are not equally noisy. And d0 = 4 needs
nine methods; fewer give less, (M - 1) / 2, and a single method is tested by the plain paired t.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .resampling import Resampled

LEVEL = 0.05
POWER = 0.8
PRIOR_DF = 4.0
"""Largest number of degrees of freedom of the common variance, d0."""
NO_SPREAD = 1e-9
"""Standard errors below this, in points, are rounding errors."""


@dataclass(frozen=True)
class Interval:
    """Mean of `count` values with 95 % interval mean - half .. mean + half; `half` is None for one value."""

    mean: float
    half: float | None
    count: int


@dataclass(frozen=True)
class Difference:
    """Mean difference of two methods over their common seeds, in points, positive if the first is better.

    `between`: variance over seeds, s^2, None for one seed. `sampling`: variance of the mean by the choice of
    test units, v; 0 without draws. `units`: number of units, None without draws.
    """

    value: float
    between: float | None
    sampling: float
    units: int | None
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Prior:
    """Variance over seeds that the methods of a table have in common, s0^2, and its degrees of freedom d0."""

    variance: float
    df: float

    @classmethod
    def of(cls, variances: Iterable[float], methods: int | None = None) -> Prior:
        """The mean of the variances of differences of `methods` (their number, if not given) methods."""
        known = list(variances)
        if not known:
            return cls(0.0, 0.0)
        count = len(known) if methods is None else methods
        return cls(float(np.mean(known)), min(PRIOR_DF, (count - 1) / 2))


@dataclass(frozen=True)
class Comparison:
    """A tested difference in points on common seeds, positive if the first method is better.

    `low`, `high`: interval whose level is Bonferroni-adjusted for all methods of the family, so that all its
    intervals hold together with 95 % probability. `p`: two-sided, of this comparison alone. `adjusted`: p
    times the size of the family, at most 1; it is below 0.05 if and only if the interval excludes 0. All are
    None where nothing can be tested: one seed, or no spread at all.
    """

    difference: float
    low: float | None
    high: float | None
    p: float | None
    adjusted: float | None
    seeds: tuple[int, ...]

    @property
    def significant(self) -> bool:
        return self.adjusted is not None and self.adjusted < LEVEL

    @property
    def better(self) -> bool:
        """Whether the first method is significantly better."""
        return self.significant and self.difference > 0


def t_interval(values: Sequence[float]) -> Interval:
    """Mean of the values with Student's 95 % interval."""
    n = len(values)
    mean = float(np.mean(values))
    if n < 2:
        return Interval(mean, None, n)
    return Interval(mean, float(critical(n - 1) * np.std(values, ddof=1) / np.sqrt(n)), n)


def critical(df: float, family: int = 1) -> float:
    """Two-sided critical value of Student's t at LEVEL, Bonferroni-adjusted for `family` tests."""
    from scipy.special import stdtrit  # slow to import

    return float(stdtrit(df, 1 - LEVEL / (2 * family)))


def two_sided(t: float, df: float) -> float:
    """Two-sided p of Student's t."""
    from scipy.special import stdtr

    return float(2 * stdtr(df, -abs(t)))


def common_seeds(*methods: Resampled) -> tuple[int, ...]:
    shared = set(methods[0].seeds).intersection(*(m.seeds for m in methods[1:]))
    return tuple(s for s in methods[0].seeds if s in shared)


def paired(first: Resampled, second: Resampled, *, higher_is_better: bool = True) -> Difference | None:
    """`first` minus `second` on their common seeds; None if they have none."""
    seeds = common_seeds(first, second)
    if not seeds:
        return None
    sign = 1 if higher_is_better else -1
    first, second = first.at(seeds), second.at(seeds)
    by_seed = sign * (first.observed - second.observed)
    between = float(by_seed.var(ddof=1)) if len(seeds) > 1 else None
    sampling, units = 0.0, None
    if first.draws is not None and second.draws is not None:
        sampling = unit_variance((first.draws - second.draws).mean(1), first.units)
        units = first.units
    return Difference(float(by_seed.mean()), between, sampling, units, seeds)


def unit_variance(draws: np.ndarray, units: int) -> float:
    """Variance of bootstrap draws (B,) of a mean over `units` units, without the bias (U - 1) / U."""
    return float(draws.var()) * units / (units - 1) if units > 1 else 0.0


def error_of(difference: Difference, prior: Prior) -> tuple[float, float] | None:
    """Standard error and degrees of freedom of a difference; None for one seed, or without any spread."""
    if difference.between is None:
        return None
    count = len(difference.seeds)
    df = prior.df + count - 1
    moderated = (prior.df * prior.variance + (count - 1) * difference.between) / df
    return combine(moderated / count, df, difference.sampling, difference.units)


def combine(a: float, df: float, v: float, units: int | None) -> tuple[float, float] | None:
    """Standard error sqrt(a + v) and its degrees of freedom, at most `df`; None without any spread."""
    error = float(np.sqrt(a + v))
    if error < NO_SPREAD:
        return None
    below = a**2 / df + (v**2 / (units - 1) if units is not None and units > 1 else 0.0)
    return error, min(df, float((a + v) ** 2 / below)) if below > 0 else df


def compare(difference: Difference, prior: Prior, family: int = 1) -> Comparison:
    """The test of one difference as one of `family` tests."""
    value, seeds = difference.value, difference.seeds
    found = error_of(difference, prior)
    if found is None:
        same = difference.between is not None and abs(value) < NO_SPREAD  # equal predictions
        if same:
            return Comparison(0.0, 0.0, 0.0, 1.0, 1.0, seeds)
        return Comparison(value, None, None, None, None, seeds)
    error, df = found
    p, half = two_sided(value / error, df), critical(df, family) * error
    return Comparison(value, value - half, value + half, p, min(1.0, family * p), seeds)


def compare_all(
    differences: Sequence[Difference | None], claims: Sequence[bool] | None = None
) -> list[Comparison | None]:
    """Tests of differences to one reference, with a common prior and simultaneous intervals.

    Only those marked in `claims` (all, if not given) make the prior and the family; the others are tested at
    the same level.
    """
    claims = claims or [True] * len(differences)
    counted = [d for d, claim in zip(differences, claims, strict=True) if claim and d is not None]
    prior = prior_of(counted)
    family = max(1, len(counted))
    return [None if d is None else compare(d, prior, family) for d in differences]


def prior_of(differences: Iterable[Difference], methods: int | None = None) -> Prior:
    """The common variance of differences on two seeds and more."""
    return Prior.of((d.between for d in differences if d.between is not None), methods)


def smallest_gain(differences: Sequence[Difference], seeds: int) -> float | None:
    """Smallest gain that a family's typical test finds with a probability of POWER; None if unknown.

    Typical: with the common variance s0^2 on `seeds` seeds and the mean v of the family. With the noncentral
    t distribution, as in a calculation of sample size; the moderated variance is treated as if its degrees of
    freedom were those of t.
    """
    from scipy.special import nctdtrinc

    prior = prior_of(differences)
    if seeds < 2 or not any(d.between is not None for d in differences):
        return None
    v = float(np.mean([d.sampling for d in differences]))
    units = next((d.units for d in differences if d.units is not None), None)
    found = combine(prior.variance / seeds, prior.df + seeds - 1, v, units)
    if found is None:
        return None
    error, df = found
    return float(nctdtrinc(df, 1 - POWER, critical(df, len(differences)))) * error


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values after the step-down correction of Holm (1979); None stays None and is not counted."""
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for position, (p, i) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - position) * p))
        corrected[i] = largest
    return corrected


def mean_over_datasets(values: Iterable[tuple[str, float]]) -> tuple[float, int] | None:
    """(data set, value) pairs -> mean over data sets of their means, and the number of data sets."""
    by_dataset: dict[str, list[float]] = {}
    for dataset, value in values:
        by_dataset.setdefault(dataset, []).append(value)
    if not by_dataset:
        return None
    return float(np.mean([np.mean(v) for v in by_dataset.values()])), len(by_dataset)
