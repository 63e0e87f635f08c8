"""Ranks as intervals."""

from __future__ import annotations

import numpy as np
import pytest

from pmbench.report.ranks import rank_intervals
from pmbench.report.resampling import Resampled


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


def test_a_method_that_lacks_a_seed_has_a_rank_but_no_probability() -> None:
    known = methods({"a": 80.0, "b": 70.0}, 0.5)
    found = rank_intervals({**known, "short": Resampled((0, 1), np.array([60.0, 60.5]), None)})
    assert found["short"].best is None
    assert found["short"].count == 3
    assert rank_intervals({"a": Resampled((0,), np.array([1.0]), None)})["a"].best is None
    assert rank_intervals({}) == {}
