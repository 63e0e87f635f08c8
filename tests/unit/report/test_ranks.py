"""Ranks as intervals."""

from __future__ import annotations

import numpy as np
import pytest

from pmbench.report.ranks import _probability_of_best, rank_intervals, ranking
from pmbench.report.resampling import Resampled
from pmbench.report.statistics import compare, holm, paired, prior_of


def methods(means: dict[str, float], sd: float, seeds: int = 5, rng: int = 0) -> dict[str, Resampled]:
    noise = np.random.default_rng(rng)
    return {m: Resampled(tuple(range(seeds)), noise.normal(x, sd, seeds), None) for m, x in means.items()}


def test_clearly_different_methods_have_single_ranks() -> None:
    found = rank_intervals(methods({"b": 70.0, "a": 80.0, "c": 60.0}, 0.1))
    assert {m: (r.low, r.high, r.count) for m, r in found.items()} == {
        "a": (1, 1, 3),
        "b": (2, 2, 3),
        "c": (3, 3, 3),
    }
    assert [found[m].best for m in "abc"] == [1.0, 0.0, 0.0]
    lower = rank_intervals(methods({"b": 70.0, "a": 80.0, "c": 60.0}, 0.1), higher_is_better=False)
    assert (lower["c"].low, lower["c"].best, lower["a"].high) == (1, 1.0, 3)


def test_two_groups_share_ranks() -> None:
    found = rank_intervals(methods({"a": 80.0, "b": 80.0, "c": 60.0, "d": 60.0}, 1.0))
    assert [(found[m].low, found[m].high) for m in "abcd"] == [(1, 2), (1, 2), (3, 4), (3, 4)]


def test_equal_methods_share_all_ranks_and_are_equally_often_the_best() -> None:
    same = np.array([70.0, 71.0, 69.0])
    found = rank_intervals({m: Resampled((0, 1, 2), same, np.tile(same, (50, 1)), 9) for m in "abc"})
    assert all((r.low, r.high) == (1, 3) for r in found.values())
    assert all(r.best == pytest.approx(1 / 3) for r in found.values())


def test_ranks_contain_the_true_ones() -> None:
    wrong = 0
    for board in range(150):
        found = rank_intervals(methods(dict.fromkeys("abcdef", 70.0) | {"g": 74.0}, 1.0, 4, board))
        others = [r for m, r in found.items() if m != "g"]
        wrong += found["g"].low > 1 or any(r.low > 2 or r.high < 7 for r in others)
        assert sum(r.best or 0 for r in found.values()) == pytest.approx(1)
        if board == 0:
            assert (found["g"].best or 0) > 0.9
    assert wrong <= 14  # 5 % of 150, and two standard errors


def test_two_methods_are_as_often_the_best_as_a_t_test_says() -> None:
    """For two methods without samples, P(best) is the one-sided p of the paired t."""
    from scipy import stats

    a, b = np.array([70.0, 72.0, 71.5, 73.0]), np.array([69.5, 72.2, 70.0, 71.8])
    found = rank_intervals({"a": Resampled((0, 1, 2, 3), a, None), "b": Resampled((0, 1, 2, 3), b, None)})
    expected = stats.ttest_rel(a, b, alternative="less").pvalue
    assert found["a"].best == pytest.approx(expected, abs=0.025)


@pytest.mark.parametrize("sd", [0.0, 0.6])
def test_the_prior_and_resampled_units_add_to_the_error(sd: float) -> None:
    """For two methods P(best) is the p of t = d / sqrt(a + v), a of seeds and prior, v of units."""
    from scipy import stats

    rng, prior_df, variance = np.random.default_rng(1), 4.0, 1.5
    a, b = np.array([70.0, 71.0, 69.5, 70.6]), np.array([69.6, 70.2, 69.4, 70.0])
    drawn = [rng.normal(x.mean(), sd, (20_000, 1)) + np.zeros(4) for x in (a, b)]
    rows = [Resampled((0, 1, 2, 3), x, d if sd else None, 3) for x, d in zip((a, b), drawn, strict=True)]
    found = _probability_of_best(dict(zip("ab", rows, strict=True)), variance, prior_df, True)
    difference = a - b
    seeds = (prior_df * variance + 3 * difference.var(ddof=1)) / 7 / 4
    units = 2 * sd**2 * 3 / 2
    expected = stats.t.cdf(difference.mean() / np.sqrt(seeds + units), 7)
    assert found["a"] == pytest.approx(expected, abs=0.025 if not sd else 0.012)
    assert found["a"] + found["b"] == pytest.approx(1)


def test_one_unit_has_the_variance_of_its_draws() -> None:
    rows = {
        m: Resampled((0, 1), np.array([x, x]), np.full((8, 2), x), 1) for m, x in (("a", 1.0), ("b", 0.0))
    }
    assert _probability_of_best(rows, 0.0, 1.0, True) == {"a": 1.0, "b": 0.0}


def test_pairs_are_tested_with_the_variance_that_all_have_in_common() -> None:
    rows = methods({"a": 71.0, "b": 70.0, "c": 70.5, "d": 69.0}, 0.6)
    found = ranking(rows)
    pairs = [(m, n) for i, m in enumerate("abcd") for n in "abcd"[i + 1 :]]
    differences = [paired(rows[m], rows[n]) for m, n in pairs]
    assert None not in differences
    prior = prior_of(differences, methods=3)  # type: ignore[arg-type]
    expected = holm([compare(d, prior).p for d in differences if d])
    assert [(t.first, t.second) for t in found.pairs] == pairs
    assert [t.p for t in found.pairs] == pytest.approx(expected)
    assert [t.difference for t in found.pairs] == pytest.approx([d.value for d in differences if d])
    assert found.ranks == rank_intervals(rows)


def test_a_significant_difference_may_be_small() -> None:
    found = rank_intervals(methods({"a": 70.0, "b": 70.4}, 0.01))
    assert [(found[m].low, found[m].high) for m in "ab"] == [(2, 2), (1, 1)]


def test_the_probability_is_of_the_methods_with_most_seeds() -> None:
    def on(seeds: tuple[int, ...], mean: float) -> Resampled:
        return Resampled(seeds, mean + np.arange(len(seeds)) * 0.1, None)

    found = rank_intervals({"a": on((0, 1, 2), 80), "b": on((0, 1, 2), 70), "c": on((5, 6), 90)})
    assert [found[m].best for m in "abc"] == [1.0, 0.0, None]
    two = rank_intervals({"a": on((0, 1), 80), "b": on((0, 1), 70)})
    assert [two[m].best for m in "ab"] == [1.0, 0.0]
    assert rank_intervals({"a": on((0, 1, 2), 80)})["a"].best is None


def test_a_method_that_lacks_a_seed_has_a_rank_but_no_probability() -> None:
    known = methods({"a": 80.0, "b": 70.0}, 0.5)
    found = rank_intervals({**known, "short": Resampled((0, 1), np.array([60.0, 60.5]), None)})
    assert found["short"].best is None
    assert found["short"].count == 3
    assert rank_intervals({"a": Resampled((0,), np.array([1.0]), None)})["a"].best is None
    assert rank_intervals({}) == {}
