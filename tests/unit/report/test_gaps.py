"""Gap recovered and its interval."""

from __future__ import annotations

import numpy as np
import pytest

from pmbench.report.gaps import Gap, Pair, fieller, gain_and_gap, gap_recovered, mean_pair
from pmbench.report.resampling import Resampled
from pmbench.report.statistics import Prior, compare_all, critical, paired

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
