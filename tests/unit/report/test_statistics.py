"""Intervals and tests, against scipy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmbench.metrics.builtin import METRICS
from pmbench.report.resampling import Resampled, resample
from pmbench.report.statistics import (
    Comparison,
    Difference,
    Prior,
    combine,
    compare,
    compare_all,
    critical,
    error_of,
    holm,
    mean_over_datasets,
    paired,
    prior_of,
    smallest_gain,
    t_interval,
    unit_variance,
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


# --- Holm ---------------------------------------------------------------------------------------------------


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


# --- the moderated paired test ------------------------------------------------------------------------------


def of_points(*points: float) -> Resampled:
    return Resampled(tuple(range(len(points))), np.array(points), None)


def differences(*by_seed: tuple[float, ...]) -> list[Difference | None]:
    return [paired(of_points(*values), of_points(*[0.0] * len(values))) for values in by_seed]


def test_one_method_is_tested_by_the_plain_paired_t() -> None:
    from scipy import stats

    first, second = np.array([71.0, 74.0, 72.5, 73.0]), np.array([70.5, 72.0, 71.5, 73.2])
    (found,) = compare_all([paired(of_points(*first), of_points(*second))])
    expected = stats.ttest_rel(first, second)
    interval = expected.confidence_interval(0.95)
    assert found is not None
    assert found.p == pytest.approx(expected.pvalue)
    assert found.adjusted == found.p
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_the_moderated_variance_by_hand() -> None:
    from scipy import stats

    # Nine methods, so d0 = 4. Variances over three seeds: 1 for eight, 10 for the last; s0^2 = 18 / 9 = 2.
    quiet, noisy = (4.0, 5.0, 6.0), (5 - 10**0.5, 5.0, 5 + 10**0.5)
    known = differences(*[quiet] * 8, noisy)
    prior = prior_of([d for d in known if d])
    assert (prior.variance, prior.df) == (pytest.approx(2.0), 4.0)
    found = compare_all(known)
    assert found[0] is not None
    assert found[-1] is not None
    moderated = (4 * 2 + 2 * 1) / 6
    p = 2 * stats.t.sf(5 / np.sqrt(moderated / 3), 6)
    assert found[0].p == pytest.approx(p)
    assert found[0].adjusted == pytest.approx(9 * p)
    half = stats.t.ppf(1 - 0.05 / 18, 6) * np.sqrt(moderated / 3)
    assert (found[0].low, found[0].high) == pytest.approx((5 - half, 5 + half))
    assert found[-1].p == pytest.approx(2 * stats.t.sf(5 / np.sqrt((4 * 2 + 2 * 10) / 6 / 3), 6))


def test_few_methods_give_few_degrees_of_freedom() -> None:
    assert [Prior.of([1.0] * m).df for m in (0, 1, 2, 5, 9, 30)] == [0, 0, 0.5, 2, 4, 4]
    assert Prior.of([1.0] * 10, methods=4).df == 1.5


def test_the_variance_of_test_units_is_added() -> None:
    from scipy import stats

    known = Difference(3.0, 0.3, 0.25, 3, (0, 1, 2))
    found = error_of(known, Prior(0.3, 4.0))
    assert found is not None
    error, df = found
    assert error == pytest.approx(np.sqrt(0.3 / 3 + 0.25))
    assert df == pytest.approx(0.35**2 / (0.1**2 / 6 + 0.25**2 / 2))  # Satterthwaite
    assert compare(known, Prior(0.3, 4.0)).p == pytest.approx(2 * stats.t.sf(3 / error, df))
    assert combine(0.5, 6.0, 0.25, 900) == pytest.approx((np.sqrt(0.75), 6.0))  # never more than d0 + S - 1
    assert combine(0.5, 6.0, 0.0, None) == pytest.approx((np.sqrt(0.5), 6.0))


def test_the_bootstrap_variance_of_accuracy_is_that_of_a_share() -> None:
    rng = np.random.default_rng(3)
    of = resampled({"a": rng.random((1, 2000)) < 0.7, "b": np.zeros((1, 2000), bool)})
    found = paired(of["a"], of["b"])
    assert found is not None
    share = of["a"].observed[0] / 100
    assert found.sampling == pytest.approx(100**2 * share * (1 - share) / 2000, rel=0.08)
    assert (found.between, found.units) == (None, 2000)


def test_samples_shared_by_seeds_do_not_average_out() -> None:
    """v stays when seeds repeat the same outcome; more seeds with new outcomes lower it."""
    rng = np.random.default_rng(5)
    once, none = rng.random((1, 500)) < 0.6, np.zeros((8, 500), bool)
    same = resampled({"a": np.repeat(once, 8, 0), "b": none})
    new = resampled({"a": rng.random((8, 500)) < 0.6, "b": none})
    repeated, fresh = paired(same["a"], same["b"]), paired(new["a"], new["b"])
    assert repeated is not None
    assert fresh is not None
    assert repeated.sampling == pytest.approx(100**2 * 0.24 / 500, rel=0.15)
    assert fresh.sampling == pytest.approx(repeated.sampling / 8, rel=0.2)


def test_the_bias_of_few_units_is_removed() -> None:
    draws = np.random.default_rng(0).integers(0, 9, (40_000, 9))
    values = np.array([3.0, 5.0, 1.0, 9.0, 4.0, 4.0, 8.0, 2.0, 6.0])
    found = unit_variance(values[draws].mean(1), 9)
    assert found == pytest.approx(values.var(ddof=1) / 9, rel=0.03)
    assert unit_variance(np.ones(5), 1) == 0


def test_an_interval_excludes_zero_if_and_only_if_the_adjusted_p_is_small() -> None:
    rng = np.random.default_rng(8)
    verdicts = []
    for _ in range(200):
        known = differences(*(tuple(rng.normal(rng.choice([0, 4]), 1.5, 3)) for _ in range(6)))
        for found in compare_all(known):
            assert found is not None
            assert found.low is not None
            assert found.high is not None
            assert (found.low > 0 or found.high < 0) == found.significant
            assert found.better == (found.low > 0)
            verdicts.append(found.significant)
    assert 0.05 < np.mean(verdicts) < 0.95


def test_rows_without_a_claim_change_no_verdict() -> None:
    known = differences((4.0, 5.0, 6.0), (1.0, 2.0, 2.0))
    wild = differences((90.0, -50.0, 3.0))
    alone, mixed = compare_all(known), compare_all([*known, *wild], [True, True, False])
    assert mixed[:2] == alone
    assert mixed[2] is not None
    assert compare_all([None, *known])[0] is None


def test_equal_predictions_have_p_one() -> None:
    right = np.random.default_rng(0).random((3, 200)) < 0.7
    of = resampled({"a": right, "b": right})
    (found,) = compare_all([paired(of["a"], of["b"])])
    assert found is not None
    assert (found.difference, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


def test_a_constant_difference_without_samples_is_not_tested() -> None:
    (found,) = compare_all(differences((2.0, 2.0, 2.0)))
    assert found is not None
    assert (found.difference, found.p, found.significant) == (2.0, None, False)


def test_a_single_seed_is_not_tested() -> None:
    rng = np.random.default_rng(0)
    of = resampled({"a": rng.random((1, 200)) < 0.9, "b": rng.random((1, 200)) < 0.2})
    (found,) = compare_all([paired(of["a"], of["b"])])
    assert found is not None
    assert (found.low, found.high, found.p, found.adjusted) == (None, None, None, None)
    assert found.difference > 50


def test_a_comparison_is_antisymmetric_and_follows_the_metrics_direction() -> None:
    rng = np.random.default_rng(0)
    of = resampled({"a": rng.random((3, 200)) < 0.7, "b": rng.random((3, 200)) < 0.6})
    one, other = paired(of["a"], of["b"]), paired(of["b"], of["a"])
    lower = paired(of["a"], of["b"], higher_is_better=False)
    assert one is not None
    assert other is not None
    assert lower is not None
    assert one.value == -other.value == -lower.value
    assert one.between == other.between == lower.between
    assert one.sampling == pytest.approx(other.sampling)


def test_only_common_seeds_are_compared() -> None:
    a = Resampled((0, 1, 2), np.array([70.0, 80.0, 90.0]), None)
    b = Resampled((1, 2, 3), np.array([79.0, 89.5, 0.0]), None)
    found = paired(a, b)
    assert found is not None
    assert (found.seeds, found.value) == ((1, 2), pytest.approx(0.75))
    assert paired(a, Resampled((7,), np.array([1.0]), None)) is None


# --- the smallest gain --------------------------------------------------------------------------------------


def test_the_smallest_gain_is_found_in_four_of_five_tests() -> None:
    rng = np.random.default_rng(1)
    for seeds, methods in ((3, 15), (5, 4), (10, 15)):
        found = []
        for _ in range(300):
            noise = rng.normal(0, 2, (methods, seeds))
            gain = smallest_gain([d for d in differences(*map(tuple, noise)) if d], seeds)
            assert gain is not None
            shifted = noise + gain
            found += [c.better for c in compare_all(differences(*map(tuple, shifted))) if c]
        assert 0.72 < np.mean(found) < 0.88, (seeds, methods)


def test_the_smallest_gain_by_scipy() -> None:
    from scipy import stats

    (known,) = differences((1.0, 2.0, 4.0, 5.0))
    assert known is not None
    gain = smallest_gain([known], 4)
    assert gain is not None
    ratio = gain / np.sqrt(known.between / 4)  # type: ignore[operator]
    assert stats.nct.sf(critical(3), 3, ratio) == pytest.approx(0.8, abs=1e-4)
    assert smallest_gain([known], 1) is None
    assert smallest_gain([], 4) is None
    assert smallest_gain([d for d in differences((1.0,)) if d], 3) is None


# --- means --------------------------------------------------------------------------------------------------


def test_means_over_data_sets_weight_each_equally() -> None:
    assert mean_over_datasets([("x", 1.0), ("x", 3.0), ("y", 5.0)]) == (3.5, 2)
    assert mean_over_datasets([]) is None


def test_the_variance_over_units_has_no_bias() -> None:
    draws = np.array([1.0, 3.0])
    assert [unit_variance(draws, units) for units in (0, 1, 2, 5)] == [0.0, 0.0, 2.0, 1.25]


def test_degrees_of_freedom_of_units_by_hand() -> None:
    a, v = 1.0, 2.0
    assert combine(a, 9, v, 2) == pytest.approx((np.sqrt(3), 9 / (1 / 9 + 4 / 1)))
    assert combine(a, 9, v, 5) == pytest.approx((np.sqrt(3), 9 / (1 / 9 + 4 / 4)))
    assert combine(a, 9, v, None) == combine(a, 9, v, 1) == (np.sqrt(3), 9), "at most those of the seeds"


def test_a_comparison_names_its_seeds_and_p_is_at_most_one() -> None:
    far, near, same = (Difference(x, s, 0.0, None, (0, 3)) for x, s in ((2.0, 1.0), (0.1, 1.0), (0.0, 0.0)))
    prior = Prior(1.0, 4.0)
    found = compare(near, prior, family=20)
    assert (found.adjusted, found.seeds) == (1.0, (0, 3))
    assert compare(far, prior, family=2).adjusted == pytest.approx(2 * compare(far, prior).p)  # type: ignore[operator]
    assert compare(same, Prior(0.0, 0.0)) == Comparison(0.0, 0.0, 0.0, 1.0, 1.0, (0, 3))
    alone = Difference(2.0, None, 0.0, None, (3,))
    assert compare(alone, prior) == Comparison(2.0, None, None, None, None, (3,))


def test_the_prior_of_pairs_counts_methods() -> None:
    differences = [Difference(0.0, s, 0.0, None, (0, 1)) for s in (1.0, 2.0, 3.0)]
    assert prior_of(differences) == Prior(2.0, 1.0)
    assert prior_of(differences, methods=2) == Prior(2.0, 0.5)


def test_the_smallest_gain_depends_on_the_units() -> None:
    def gain(units: int | None, seeds: int = 10) -> float | None:
        return smallest_gain([Difference(1.0, 0.5, 2.0, units, tuple(range(seeds)))] * 4, seeds)

    few, many, none = gain(4), gain(400), gain(None)
    assert None not in (few, many, none)
    assert few > 1.2 * many  # type: ignore[operator]
    assert many == none, "many units limit no degrees of freedom"
    assert gain(None, 2) is not None
    assert gain(None, 1) is None
