from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pmbench.metrics.builtin import METRICS, Evidence
from pmbench.report.resampling import Resampled, _bootstrap_weights, normal, resample

COUNTED = [name for name, metric in METRICS.items() if metric.recomputable]


@pytest.mark.parametrize("name", COUNTED)
def test_resampled_metrics_equal_the_metric_of_the_drawn_samples(name: str) -> None:
    rng = np.random.default_rng(0)
    classes, size = 2 if not METRICS[name].higher_is_better else 4, 60
    labels = rng.integers(0, classes, size)
    runs = {
        "one": {0: rng.integers(0, classes, size), 1: rng.integers(0, classes, size)},
        "two": {1: labels.copy()},
    }
    result = resample({0: labels, 1: labels}, runs, METRICS[name], num_classes=classes, resamples=7)
    weights = _bootstrap_weights(0, 0, 7, size).astype(int)
    for method, by_seed in runs.items():
        assert result[method].seeds == tuple(by_seed)
        for column, predicted in enumerate(by_seed.values()):
            whole = Evidence(labels, predicted, classes)
            assert result[method].observed[column] == pytest.approx(METRICS[name].function(whole))
            for row in range(7):
                drawn = np.repeat(np.arange(size), weights[row])
                evidence = Evidence(labels[drawn], predicted[drawn], classes)
                assert result[method].draws[row, column] == pytest.approx(METRICS[name].function(evidence))


def test_seeds_share_draws_if_their_test_samples_are_equal() -> None:
    labels = np.arange(50) % 3
    predicted = {"m": {seed: np.where(np.arange(50) < 30, labels, 0) for seed in (0, 1)}}
    accuracy = METRICS["accuracy"]
    same = resample({0: labels, 1: labels}, predicted, accuracy, num_classes=3)["m"]
    other = resample({0: labels, 1: labels}, predicted, accuracy, num_classes=3, test_sets={0: "a", 1: "b"})[
        "m"
    ]
    assert (same.draws[:, 0] == same.draws[:, 1]).all()
    assert abs(np.corrcoef(other.draws.T)[0, 1]) < 0.1
    assert (same.observed == other.observed).all()


def test_a_resample_without_a_needed_class_takes_the_observed_value() -> None:
    labels, predicted = np.array([0, 1, 1, 1]), np.array([0, 1, 1, 0])
    draws = resample({0: labels}, {"m": {0: predicted}}, METRICS["acer"], num_classes=2)["m"].draws
    assert np.isfinite(draws).all()


@given(st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=20)
def test_every_resample_has_the_size_of_the_test_part(rows: int, samples: int) -> None:
    weights = _bootstrap_weights(1, 0, rows, samples)
    assert weights.shape == (rows, samples)
    assert (weights.sum(1) == samples).all()


def test_samples_are_drawn_uniformly() -> None:
    weights = _bootstrap_weights(1, 0, 4000, 25)
    assert weights.mean(0) == pytest.approx(np.ones(25), abs=0.06)
    assert weights.var() == pytest.approx(1 - 1 / 25, rel=0.03)


def test_draws_are_those_of_one_stream_block_by_block() -> None:
    """Two blocks of five resamples of seven samples: 18 numbers of 64 bits each."""
    bits = np.random.PCG64([1511_03643, 3])
    for skipped in (0, 18):
        raw = bits.random_raw(18).view(np.uint32)[:35]
        drawn = (raw.astype(np.uint64) * np.uint64(7) >> np.uint64(32)).reshape(5, 7)
        wanted = [[list(row).count(sample) for sample in range(7)] for row in drawn.tolist()]
        np.testing.assert_array_equal(_bootstrap_weights(3, skipped, 5, 7), wanted)


@pytest.mark.parametrize("name", COUNTED)
def test_groups_are_drawn_whole(name: str) -> None:
    rng = np.random.default_rng(0)
    classes, size = 2 if not METRICS[name].higher_is_better else 4, 80
    labels, groups = rng.integers(0, classes, size), rng.integers(0, 5, size) * 7
    predicted = rng.integers(0, classes, size)
    found = resample(
        {0: labels},
        {"m": {0: predicted}},
        METRICS[name],
        num_classes=classes,
        groups={0: groups},
        resamples=9,
    )["m"]
    weights = _bootstrap_weights(0, 0, 9, 5).astype(int)
    assert found.units == 5
    for row in range(9):
        drawn = np.repeat(np.arange(size), weights[row][groups // 7])
        evidence = Evidence(labels[drawn], predicted[drawn], classes)
        assert found.draws[row, 0] == pytest.approx(METRICS[name].function(evidence))


def test_samples_are_drawn_where_there_are_no_groups_or_only_one() -> None:
    labels, predicted = np.arange(60) % 3, np.arange(60) % 2
    plain = resample({0: labels}, {"m": {0: predicted}}, METRICS["accuracy"], num_classes=3)["m"]
    for groups in ({0: np.zeros(60, int)}, {}):
        found = resample(
            {0: labels}, {"m": {0: predicted}}, METRICS["accuracy"], num_classes=3, groups=groups
        )["m"]
        assert (found.draws == plain.draws).all()
        assert found.units == 60


def test_two_groups_are_two_units() -> None:
    labels, predicted = np.arange(60) % 3, np.arange(60) % 2
    found = resample(
        {0: labels},
        {"m": {0: predicted}},
        METRICS["accuracy"],
        num_classes=3,
        groups={0: np.arange(60) // 30},
    )["m"]
    assert found.units == 2
    assert len(np.unique(found.draws.round(6))) <= 3


def test_test_sets_without_a_run_are_passed_over() -> None:
    labels = {seed: np.arange(20) % 2 for seed in range(3)}
    predicted = {"m": {1: np.arange(20) % 2, 2: np.zeros(20, int)}}
    found = resample(
        labels, predicted, METRICS["accuracy"], num_classes=2, test_sets={0: "a", 1: "b", 2: "c"}
    )
    assert found["m"].seeds == (1, 2)
    assert found["m"].observed.tolist() == [100.0, 50.0]


def test_a_metric_of_logits_cannot_be_resampled() -> None:
    name = next(name for name, metric in METRICS.items() if metric.of_counts is None)
    with pytest.raises(ValueError, match=f"metric '{name}' is not a function of labels and predicted"):
        resample({0: np.zeros(4, int)}, {"m": {0: np.zeros(4, int)}}, METRICS[name], num_classes=2)


def test_groups_that_agree_within_vary_more_than_samples() -> None:
    groups = np.repeat(np.arange(10), 40)
    labels, predicted = np.zeros(400, int), groups % 2
    accuracy = METRICS["accuracy"]
    alone = resample({0: labels}, {"m": {0: predicted}}, accuracy, num_classes=2)["m"].draws
    whole = resample({0: labels}, {"m": {0: predicted}}, accuracy, num_classes=2, groups={0: groups})["m"]
    assert whole.draws.var() / alone.var() == pytest.approx(40, rel=0.15)


def test_draws_are_pinned() -> None:
    labels = np.arange(40) % 2
    draws = resample(
        {0: labels}, {"m": {0: (np.arange(40) % 4 > 0).astype(int)}}, METRICS["accuracy"], num_classes=2
    )
    assert draws["m"].draws[:5, 0].tolist() == pytest.approx([77.5, 72.5, 80.0, 72.5, 70.0])


def test_resampling_a_large_board_is_fast() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 3000)
    runs = {f"m{i}": {s: rng.integers(0, 10, 3000) for s in range(3)} for i in range(10)}
    start = time.perf_counter()
    resample(dict.fromkeys(range(3), labels), runs, METRICS["macro_f1"], num_classes=10)
    assert time.perf_counter() - start < 3  # 0.15 s on two idle cores


def test_values_are_ordered_by_seed() -> None:
    made = Resampled.of_values({3: 1.0, 0: 2.0, 2: 3.0})
    assert (made.seeds, made.observed.tolist(), made.draws) == ((0, 2, 3), [2.0, 3.0, 1.0], None)
    some = made.at((3, 0))
    assert (some.seeds, some.observed.tolist(), some.draws) == ((3, 0), [1.0, 2.0], None)


def test_normal_numbers() -> None:
    from scipy import stats

    first, second = normal(40_000, 0), normal(40_000, 1)
    assert stats.kstest(first, stats.norm.cdf).pvalue > 0.01
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.02
    assert first[:3].tolist() == pytest.approx([0.338938, -0.481872, -1.725365], abs=1e-6)
