"""Gap recovered and its interval."""

from __future__ import annotations

import numpy as np
import pytest

from pmbench.report.gaps import Gap, Pair, fieller, gain_and_gap, gap_recovered, mean_pair
from pmbench.report.resampling import Resampled
from pmbench.report.statistics import Prior, compare_all, critical, error_of, paired

NONE = Prior(0.0, 0.0)


def of_points(*points: float) -> Resampled:
    return Resampled(tuple(range(len(points))), np.array(points), None)


def recovered(method: Resampled, floor: Resampled, ceiling: Resampled, higher: bool = True) -> Gap | None:
    return gap_recovered(gain_and_gap(method, floor, ceiling, NONE, higher_is_better=higher))


def test_gap_recovered_by_hand() -> None:
    floor, ceiling = of_points(60.0, 62.0), of_points(80.0, 82.0)
    found = recovered(of_points(65.0, 67.0), floor, ceiling)
    assert found is not None
    assert found.value == pytest.approx(0.25)
    error = recovered(of_points(9.0), of_points(10.0), of_points(2.0), higher=False)
    assert error is not None
    assert error.value == pytest.approx(1 / 8)


def test_a_gap_is_recovered_on_the_seeds_that_all_three_have() -> None:
    def on(**points: float) -> Resampled:
        return Resampled.of_values({int(seed[1:]): value for seed, value in points.items()})

    method, floor = on(s0=1.0, s1=65.0, s2=69.0, s5=2.0), on(s1=60.0, s2=62.0, s3=99.0, s5=3.0)
    ceiling = on(s0=4.0, s1=80.0, s2=82.0, s3=5.0)
    found = recovered(method, floor, ceiling)
    assert found is not None
    assert (found.seeds, found.value) == ((1, 2), pytest.approx(6 / 20))
    assert recovered(method, floor, on(s7=80.0)) is None


def test_one_seed_has_a_gap_but_no_interval() -> None:
    assert recovered(of_points(65.0), of_points(60.0), of_points(80.0)) == Gap(0.25, None, None, (0,))


def test_no_gap_recovered_if_ceiling_and_floor_differ_by_less_than_a_point() -> None:
    assert recovered(of_points(60.5), of_points(60.0), of_points(60.99)) is None
    assert recovered(of_points(60.5), of_points(60.0), of_points(55.0)) is None
    assert recovered(of_points(60.5), of_points(60.0), of_points(61.0)) is not None


def test_the_limits_are_where_the_test_turns() -> None:
    """At each limit r, the paired t test of method - (1 - r) floor - r ceiling has p = 0.05."""
    from scipy import stats

    rng = np.random.default_rng(2)
    floor, method, ceiling = (rng.normal(mean, 1, 5) for mean in (60, 68, 80))
    found = recovered(of_points(*method), of_points(*floor), of_points(*ceiling))
    assert found is not None
    for limit in (found.low, found.high):
        assert limit is not None
        contrast = method - (1 - limit) * floor - limit * ceiling
        assert stats.ttest_1samp(contrast, 0).pvalue == pytest.approx(0.05)
    assert found.low < found.value < found.high  # type: ignore[operator]


def test_the_interval_excludes_zero_if_and_only_if_the_gain_is_significant() -> None:
    rng = np.random.default_rng(4)
    seen = set()
    for _ in range(100):
        floor, ceiling = of_points(*rng.normal(60, 1, 4)), of_points(*rng.normal(80, 1, 4))
        method = of_points(*rng.normal(61.5, 1, 4))
        (gain,) = compare_all([paired(method, floor)])
        found = recovered(method, floor, ceiling)
        assert gain is not None
        assert found is not None
        if found.low is not None and found.high is not None:
            assert (found.low > 0 or found.high < 0) == gain.significant
            seen.add(gain.significant)
    assert seen == {True, False}


def test_no_interval_if_the_gap_may_be_zero() -> None:
    found = recovered(of_points(61.0, 66.0), of_points(60.0, 64.0), of_points(75.0, 65.0))
    assert found is not None
    assert (found.low, found.high) == (None, None)
    assert fieller(1.0, 2.0, (1.0, 0.0, 1.0), critical(3)) is None


def test_the_mean_of_independent_pairs_by_hand() -> None:
    one = Pair(2.0, 10.0, (4.0, 0.5, 8.0), 6.0, (0, 1))
    other = Pair(4.0, 20.0, (2.0, 0.5, 4.0), 5.0, (0, 1))
    mean = mean_pair([one, other], [0.5, 0.5])
    assert (mean.gain, mean.gap, mean.df) == (3.0, 15.0, 5.0)
    assert mean.covariance == (1.5, 0.25, 3.0)
    unknown = Pair(4.0, 20.0, None, 0.0, (0,))
    assert mean_pair([one, unknown], [0.5, 0.5]).covariance is None


def drawn(rng: np.random.Generator, mean: float, units: int = 7, sd: float = 2.0) -> Resampled:
    return Resampled((0, 1, 2, 3), rng.normal(mean, 1, 4), rng.normal(mean, sd, (50, 4)), units)


def without_draws(row: Resampled) -> Resampled:
    return Resampled(row.seeds, row.observed, None, row.units)


def test_the_covariance_is_of_seeds_of_the_prior_and_of_resampled_units() -> None:
    rng, prior = np.random.default_rng(3), Prior(0.8, 4.0)
    method, floor, ceiling = drawn(rng, 66), drawn(rng, 60), drawn(rng, 80)
    by_seed = np.cov(method.observed - floor.observed, ceiling.observed - floor.observed)
    common = 0.8 * np.array([[1, 0.5], [0.5, 1]])
    over_seeds = (4 * common + 3 * by_seed) / 7 / 4
    assert method.draws is not None
    assert floor.draws is not None
    assert ceiling.draws is not None
    gains, gaps = (method.draws - floor.draws).mean(1), (ceiling.draws - floor.draws).mean(1)
    over_units = np.cov(gains, gaps, ddof=0) * 7 / 6
    found = gain_and_gap(method, floor, ceiling, prior)
    assert found is not None
    assert found.covariance == pytest.approx((over_seeds + over_units)[[0, 0, 1], [0, 1, 1]])
    difference = paired(method, floor)
    assert difference is not None
    assert (np.sqrt(found.covariance[0]), found.df) == pytest.approx(error_of(difference, prior))
    for lacking in range(3):
        rows = [without_draws(r) if n == lacking else r for n, r in enumerate((method, floor, ceiling))]
        some = gain_and_gap(*rows, prior)
        assert some is not None
        assert some.covariance == pytest.approx(over_seeds[[0, 0, 1], [0, 1, 1]])


def test_few_units_limit_the_degrees_of_freedom() -> None:
    rng, prior = np.random.default_rng(8), Prior(0.8, 4.0)
    method, floor, ceiling = (drawn(rng, mean, 3, sd) for mean, sd in ((66, 4), (60, 4), (80, 9)))
    difference, found = paired(method, floor), gain_and_gap(method, floor, ceiling, prior)
    assert difference is not None
    assert found is not None
    assert found.df == pytest.approx(error_of(difference, prior)[1])  # type: ignore[index]
    assert found.df < 4


def test_errors_have_gains_and_gaps_of_the_other_sign_and_the_same_covariance() -> None:
    rng = np.random.default_rng(5)
    rows = drawn(rng, 20), drawn(rng, 26), drawn(rng, 10)
    up, down = (gain_and_gap(*rows, NONE, higher_is_better=higher) for higher in (True, False))
    assert up is not None
    assert down is not None
    assert (down.gain, down.gap) == (-up.gain, -up.gap)
    assert down.gain > 0
    assert down.gap > 0
    assert down.covariance == up.covariance
    assert gain_and_gap(*rows, NONE) == up


def test_no_covariance_is_known_of_one_seed_or_without_any_spread() -> None:
    one = gain_and_gap(of_points(65.0), of_points(60.0), of_points(80.0), Prior(0.8, 4.0))
    assert one == Pair(5.0, 20.0, None, 0.0, (0,))
    same = gain_and_gap(of_points(65.0, 65.0), of_points(60.0, 60.0), of_points(80.0, 80.0), NONE)
    assert same == Pair(5.0, 20.0, None, 0.0, (0, 1))
    two = gain_and_gap(of_points(65.0, 66.0), of_points(60.0, 60.0), of_points(80.0, 82.0), NONE)
    assert two is not None
    assert two.covariance == pytest.approx((0.25, 0.5, 1.0))


def test_intervals_of_a_family_are_wider() -> None:
    pair = Pair(5.0, 20.0, (1.0, 0.2, 1.0), 9.0, (0, 1))
    alone, family = gap_recovered(pair), gap_recovered(pair, 20)
    assert alone is not None
    assert family is not None
    assert None not in (alone.low, family.low)
    assert family.low < alone.low < alone.value < alone.high < family.high  # type: ignore[operator]


def test_limits_of_small_gaps_and_errors() -> None:
    assert fieller(1.0, 2.0, (0.1, 0.0, 4.0), 1.0) is None, "the gap may be zero"
    low, high = fieller(0.5, 1.0, (0.01, 0.0, 0.19), 1.0) or (0.0, 0.0)
    for r in (low, high):  # |gain - r gap| is just one standard error
        assert (0.5 - r) ** 2 == pytest.approx(0.01 + 0.19 * r**2)
    assert low < 0.5 < high


def test_means_of_pairs_have_a_weight_each() -> None:
    one, other = Pair(2.0, 10.0, None, 6.0, (0, 1)), Pair(4.0, 20.0, None, 5.0, (3,))
    assert mean_pair([one, other], [0.25, 0.75]) == Pair(3.5, 17.5, None, 5.0, (0, 1))
    with pytest.raises(ValueError, match="zip"):
        mean_pair([one, other], [1.0])
