"""Intervals and tests, against scipy and in simulations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmbench.metrics.builtin import METRICS
from pmbench.report.resampling import Resampled, resample
from pmbench.report.statistics import (
    compare,
    discordant,
    gap_recovered,
    holm,
    mcnemar,
    mean_over_datasets,
    rank_groups,
    t_interval,
)

ACCURACY = METRICS["accuracy"]


def resampled(right: dict[str, np.ndarray]) -> dict[str, Resampled]:
    """right[method]: correctness (S, N)."""
    seeds, size = next(iter(right.values())).shape
    labels = np.ones(size, int)
    runs = {name: {s: of[s].astype(int) for s in range(len(of))} for name, of in right.items()}
    return resample(dict.fromkeys(range(seeds), labels), runs, ACCURACY, num_classes=2)


# --- intervals ----------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 100), min_size=2, max_size=8))
def test_t_interval_equals_scipy(values: list[float]) -> None:
    from scipy import stats

    found = t_interval(values)
    assert found.mean == pytest.approx(np.mean(values))
    spread = stats.sem(values)
    if spread > 1e-9:
        low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), spread)
        assert (found.mean - found.half, found.mean + found.half) == pytest.approx((low, high), abs=1e-6)


def test_an_interval_counts_its_values() -> None:
    assert [t_interval(values).count for values in ([1.0], [1.0, 2.0, 4.0])] == [1, 3]


def test_one_value_has_no_interval() -> None:
    found = t_interval([71.5])
    assert (found.mean, found.half, found.count) == (71.5, None, 1)


# --- McNemar, Holm ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("b", "c"), [(0, 0), (0, 1), (3, 9), (10, 10), (40, 75), (1, 0)])
def test_mcnemar_equals_the_binomial_test(b: int, c: int) -> None:
    from scipy import stats

    exact, mid = mcnemar(b, c)
    if b + c == 0:
        assert (exact, mid) == (1.0, 1.0)
        return
    assert exact == pytest.approx(stats.binomtest(b, b + c, 0.5).pvalue)
    by_hand = 2 * stats.binom.cdf(min(b, c), b + c, 0.5) - stats.binom.pmf(min(b, c), b + c, 0.5)
    assert mid == pytest.approx(min(1.0, by_hand))


def test_discordant_samples_are_counted_over_common_seeds() -> None:
    labels = {0: np.array([0, 1, 1, 0]), 1: np.array([0, 1, 1, 0])}
    first = {0: np.array([0, 1, 0, 1]), 1: np.array([0, 0, 0, 0])}
    second = {0: np.array([1, 0, 1, 1]), 2: np.array([0, 0, 0, 0])}
    assert discordant(labels, first, second) == (2, 1)


def test_discordant_samples_are_summed_over_seeds() -> None:
    labels = dict.fromkeys((0, 1, 2), np.array([0, 1, 1, 0]))
    first = dict.fromkeys((0, 1, 2), np.array([0, 1, 1, 1]))  # wrong: the last
    second = dict.fromkeys((0, 1, 2), np.array([1, 0, 1, 0]))  # wrong: the first two
    assert discordant(labels, first, second) == (6, 3)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, None, 0.005]) == pytest.approx([0.03, 0.06, 0.06, None, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_keeps_the_order_and_never_lowers_a_p(values: list[float]) -> None:
    corrected = holm(values)
    assert all(c >= p for c, p in zip(corrected, values, strict=True))
    order = np.argsort(values, kind="stable")
    assert np.all(np.diff(np.array(corrected, float)[order]) >= 0)


# --- the paired test ----------------------------------------------------------------------------------------


def simulated(pairs: int, seeds: int, size: int, of_seed: float, gain: float = 0.0) -> list[float]:
    """p-values of `pairs` comparisons of methods whose correctness varies by sample, seed and noise."""
    rng = np.random.default_rng(4)
    found = []
    for _ in range(pairs):
        sample = rng.normal(0.8, 1.2, size)
        both = []
        for shift in (gain, 0.0):
            seed_effect = rng.normal(shift, of_seed, (seeds, 1))
            both.append(sample + seed_effect + rng.normal(0, 1, (seeds, size)) > 0)
        of = resampled({"a": both[0], "b": both[1]})
        comparison = compare(of["a"], of["b"])
        assert comparison is not None
        assert comparison.p is not None
        found.append(comparison.p)
    return found


@pytest.mark.parametrize(("seeds", "of_seed"), [(1, 0.0), (3, 0.0), (3, 0.05), (5, 0.1)])
def test_null_differences_are_rarely_significant(seeds: int, of_seed: float) -> None:
    p = np.array(simulated(150, seeds, 300, of_seed))
    assert np.mean(p < 0.05) <= 0.11
    assert 0.3 < np.mean(p < 0.5) < 0.68
    assert np.mean(p < 0.2) > 0.06


def test_real_differences_are_found() -> None:
    assert np.mean(np.array(simulated(30, 3, 600, 0.02, gain=0.5)) < 0.05) > 0.9


def test_pairing_finds_a_small_difference_that_all_seeds_share() -> None:
    hard = np.arange(600) % 3 == 0
    worse = np.tile(~hard, (3, 1))
    better = worse.copy()
    better[:, :36:3] = True  # 12 of 600 samples, 2 points
    of = resampled({"better": better, "worse": worse})
    found = compare(of["better"], of["worse"])
    assert found is not None
    assert found.difference == pytest.approx(2.0)
    assert found.p is not None
    assert found.p < 0.01
    assert found.low is not None
    assert found.low > 0


def test_equal_predictions_have_p_one() -> None:
    right = np.random.default_rng(0).random((3, 200)) < 0.7
    of = resampled({"a": right, "b": right})
    found = compare(of["a"], of["b"])
    assert found is not None
    assert (found.difference, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


def test_a_comparison_is_antisymmetric_and_follows_the_metrics_direction() -> None:
    rng = np.random.default_rng(0)
    of = resampled({"a": rng.random((3, 200)) < 0.7, "b": rng.random((3, 200)) < 0.6})
    one, other = compare(of["a"], of["b"]), compare(of["b"], of["a"])
    lower = compare(of["a"], of["b"], higher_is_better=False)
    assert one is not None
    assert other is not None
    assert lower is not None
    assert one.difference == -other.difference == -lower.difference
    assert one.p == other.p == lower.p
    assert one.low == pytest.approx(-other.high)


def test_only_common_seeds_are_compared() -> None:
    a = Resampled((0, 1, 2), np.array([70.0, 80.0, 90.0]), None)
    b = Resampled((1, 2, 3), np.array([79.0, 89.0, 0.0]), None)
    found = compare(a, b)
    assert found is not None
    assert found.seeds == (1, 2)
    assert found.difference == pytest.approx(1.0)
    assert compare(a, Resampled((7,), np.array([1.0]), None)) is None


def test_without_predictions_compare_is_the_paired_t_test_over_seeds() -> None:
    from scipy import stats

    first, second = np.array([71.0, 74.0, 72.5, 73.0]), np.array([70.5, 72.0, 71.5, 73.2])
    seeds = (0, 1, 2, 3)
    found = compare(Resampled(seeds, first, None), Resampled(seeds, second, None))
    assert found is not None
    assert found.p == pytest.approx(stats.ttest_rel(first, second).pvalue, abs=0.03)
    single = compare(Resampled((0,), first[:1], None), Resampled((0,), second[:1], None))
    assert single is not None
    assert (single.difference, single.low, single.high, single.p) == (0.5, None, None, None)
    assert len(single.seeds) == 1


# --- gap recovered ------------------------------------------------------------------------------------------


def of_points(*points: float) -> Resampled:
    return Resampled(tuple(range(len(points))), np.array(points), None)


def test_gap_recovered_by_hand() -> None:
    floor, ceiling = of_points(60.0, 62.0), of_points(80.0, 82.0)
    found = gap_recovered(of_points(65.0, 67.0), floor, ceiling)
    assert found is not None
    assert found.value == pytest.approx(0.25)
    error = gap_recovered(of_points(9.0), of_points(10.0), of_points(2.0), higher_is_better=False)
    assert error is not None
    assert error.value == pytest.approx(1 / 8)


def test_a_gap_is_recovered_on_the_seeds_that_all_three_have() -> None:
    def on(**points: float) -> Resampled:
        return Resampled.of_values({int(seed[1:]): value for seed, value in points.items()})

    method, floor = on(s0=1.0, s1=65.0, s2=69.0, s5=2.0), on(s1=60.0, s2=62.0, s3=99.0, s5=3.0)
    ceiling = on(s0=4.0, s1=80.0, s2=82.0, s3=5.0)
    found = gap_recovered(method, floor, ceiling)
    assert found is not None
    assert (found.seeds, found.value) == ((1, 2), pytest.approx(6 / 20))
    assert gap_recovered(method, floor, on(s7=80.0)) is None


def test_one_seed_without_predictions_has_a_gap_but_no_interval() -> None:
    found = gap_recovered(of_points(65.0), of_points(60.0), of_points(80.0))
    assert found is not None
    assert (found.value, found.low, found.high, found.seeds) == (0.25, None, None, (0,))


def test_no_gap_recovered_if_ceiling_and_floor_differ_by_less_than_a_point() -> None:
    assert gap_recovered(of_points(60.5), of_points(60.0), of_points(60.99)) is None
    assert gap_recovered(of_points(60.5), of_points(60.0), of_points(55.0)) is None
    assert gap_recovered(of_points(60.5), of_points(60.0), of_points(61.0)) is not None


def test_the_interval_of_the_gap_covers_it() -> None:
    noise = np.random.default_rng(1).random((3, 500))
    of = resampled({name: noise < p for name, p in (("floor", 0.6), ("mid", 0.7), ("ceiling", 0.8))})
    found = gap_recovered(of["mid"], of["floor"], of["ceiling"])
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high
    assert found.high - found.low < 0.4
    ends = [gap_recovered(of[name], of["floor"], of["ceiling"]) for name in ("floor", "ceiling")]
    assert [(e.value, e.low, e.high) for e in ends if e] == [(0, 0, 0), (1, 1, 1)]


def test_no_interval_if_the_gap_may_be_zero() -> None:
    of = resampled({"floor": right(0, 36), "method": right(0, 37), "ceiling": right(2, 40)})
    found = gap_recovered(of["method"], of["floor"], of["ceiling"])
    assert found is not None
    assert found.value == pytest.approx(0.5)
    assert (found.low, found.high) == (None, None)


def right(first: int, end: int) -> np.ndarray:
    """Two seeds that get samples `first`..`end` - 1 of 60 right."""
    return np.tile((np.arange(60) >= first) & (np.arange(60) < end), (2, 1))


# --- ranks, means -------------------------------------------------------------------------------------------


def test_methods_without_significant_difference_share_a_rank() -> None:
    level = {"a": 0, "b": 0, "c": 1, "d": 1, "e": 2}
    ranks = rank_groups(list("abcde"), lambda x, y: 0.8 if level[x] == level[y] else 0.001)
    assert ranks == {"a": 1, "b": 1, "c": 3, "d": 3, "e": 5}


def test_a_group_is_compared_with_its_best_and_holm_corrected() -> None:
    p_values = {("a", "b"): 0.2, ("a", "c"): 0.03, ("a", "d"): 0.001, ("d",): 1.0}
    # Holm: d 3 x 0.001, c 2 x 0.03 = 0.06
    assert rank_groups(list("abcd"), lambda x, y: p_values[x, y]) == {"a": 1, "b": 1, "c": 1, "d": 4}
    assert rank_groups(list("ab"), lambda x, y: None) == {"a": 1, "b": 1}
    assert rank_groups([], lambda x, y: 0.0) == {}


def test_means_over_data_sets_weight_each_equally() -> None:
    assert mean_over_datasets([("x", 1.0), ("x", 3.0), ("y", 5.0)]) == (3.5, 2)
    assert mean_over_datasets([]) is None
