"""Metrics, against plain loops written from the formulas and against values computed by hand."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmbench.errors import UnknownName, UsageError
from pmbench.metrics import builtin as metrics
from pmbench.metrics.builtin import METRICS, Evidence
from pmbench.plugins import load_plugins


def score(names: Iterable[str], attack_types: list[str] | None = None, **inputs: Any) -> dict[str, float]:
    """Metrics by name, from the inputs of `evidence_of`."""
    evidence = dataclasses.replace(metrics.evidence_of(**inputs), attack_types=attack_types)
    return {name: METRICS[name].function(evidence) for name in names}


def expand(tp: int, fp: int, fn: int, tn: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and predictions of a 2x2 table; 1 is the positive class."""
    labels = [1] * (tp + fn) + [0] * (fp + tn)
    predicted = [1] * tp + [0] * fn + [1] * fp + [0] * tn
    return np.array(labels), np.array(predicted)


def value(name: str, labels: np.ndarray, predicted: np.ndarray, positive: int = 1, **more: object) -> float:
    """One metric of labels and predictions, at least two classes."""
    classes = 1 + max(1, int(labels.max()), int(predicted.max()))
    return METRICS[name].function(Evidence(labels, predicted, classes, positive=positive, **more))


# --- the 2x2 table ------------------------------------------------------------------------------------------


def test_acer_and_acer_mmh_by_hand() -> None:
    labels, predicted = expand(tp=80, fp=30, fn=20, tn=270)
    assert value("apcer", labels, predicted) == pytest.approx(100 * 30 / 300)
    assert value("bpcer", labels, predicted) == pytest.approx(100 * 20 / 100)
    assert value("acer", labels, predicted) == pytest.approx(15.0)
    # FN / (FN + TN) = 20 / 290, FP / (FP + TP) = 30 / 110
    assert value("acer_mmh", labels, predicted) == pytest.approx(100 * (20 / 290 + 30 / 110) / 2)
    assert value("f1", labels, predicted) == pytest.approx(100 * 160 / 210)
    assert value("accuracy", labels, predicted) == pytest.approx(87.5)


def test_hter_is_acer() -> None:
    labels, predicted = expand(tp=7, fp=2, fn=4, tn=9)
    names = ["hter", "acer"]
    values = score(names, labels=labels, logits=np.eye(2)[predicted], num_classes=2)
    assert values["hter"] == values["acer"]


@given(st.integers(1, 60), st.integers(0, 40), st.integers(1, 60))
def test_acer_and_acer_mmh_agree_if_fn_equals_fp(tp: int, errors: int, tn: int) -> None:
    labels, predicted = expand(tp, errors, errors, tn)
    assert value("acer", labels, predicted) == pytest.approx(value("acer_mmh", labels, predicted))


def test_acer_mmh_depends_on_the_class_balance_and_acer_does_not() -> None:
    few, many = expand(90, 10, 20, 80), expand(90, 100, 20, 800)
    assert value("acer", *few) == pytest.approx(value("acer", *many))
    assert abs(value("acer_mmh", *few) - value("acer_mmh", *many)) > 5


def test_the_positive_class_is_selectable() -> None:
    labels, predicted = expand(tp=80, fp=30, fn=20, tn=270)
    assert value("apcer", 1 - labels, 1 - predicted, positive=0) == value("apcer", labels, predicted)
    assert value("f1", 1 - labels, 1 - predicted, positive=0) == value("f1", labels, predicted)


def test_acer_worst_takes_the_worst_attack_type() -> None:
    labels = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    predicted = np.array([1, 1, 1, 0, 0, 0, 0, 1, 0, 1])
    types = ["", "", "", "", "print", "print", "print", "print", "replay", "replay"]
    assert value("acer", labels, predicted) == pytest.approx((100 * 2 / 6 + 25) / 2)
    assert value("acer_worst", labels, predicted, attack_types=types) == pytest.approx((50 + 25) / 2)
    assert value("acer_worst", labels, predicted, attack_types=["one"] * 10) == pytest.approx(
        value("acer", labels, predicted)
    )


# --- several classes ----------------------------------------------------------------------------------------


def slow_class_metrics(labels: np.ndarray, predicted: np.ndarray) -> tuple[float, float, float]:
    """Accuracy, mean recall and mean F1 in plain loops."""
    right = sum(int(a == b) for a, b in zip(labels, predicted, strict=True))
    recalls, f1s = [], []
    for c in sorted(set(labels.tolist())):
        tp = fp = fn = 0
        for a, b in zip(labels.tolist(), predicted.tolist(), strict=True):
            tp += a == c and b == c
            fp += a != c and b == c
            fn += a == c and b != c
        recalls.append(tp / (tp + fn))
        f1s.append(2 * tp / (2 * tp + fp + fn))
    return 100 * right / len(labels), 100 * sum(recalls) / len(recalls), 100 * sum(f1s) / len(f1s)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60))
def test_class_metrics_equal_plain_loops_with_empty_classes(pairs: list[tuple[int, int]]) -> None:
    labels, predicted = np.array(pairs).T
    accuracy, recall, f1 = slow_class_metrics(labels, predicted)
    names = ["accuracy", "wa", "mean_class_accuracy", "ua", "macro_f1"]
    values = score(names, labels=labels, logits=np.eye(6)[predicted], num_classes=6)
    assert list(values.values()) == pytest.approx([accuracy, accuracy, recall, recall, f1])


def test_f1_without_any_positive_is_zero() -> None:
    assert value("f1", np.array([0, 0]), np.array([0, 0])) == 0.0


# --- scores and features ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [1e-2, 1e-3, 0.25])
def test_tpr_at_fpr_is_the_best_of_all_thresholds(rate: float) -> None:
    rng = np.random.default_rng(3)
    labels = (rng.random(400) < 0.3).astype(int)
    scores = np.round(rng.normal(labels * 1.5, 1.0), 1)  # rounded to have ties
    best = 0.0
    for threshold in [*np.unique(scores), np.inf]:
        accepted = scores >= threshold
        if accepted[labels == 0].mean() <= rate:
            best = max(best, accepted[labels == 1].mean())
    assert metrics.tpr_at_fpr(labels, scores, rate) == pytest.approx(100 * best)


def test_tpr_at_fpr_from_logits_does_not_saturate() -> None:
    labels = np.array([0, 0, 1, 1])
    logits = np.array([[0.0, 800.0], [900.0, 0.0], [0.0, 900.0], [0.0, 1000.0]])  # softmax is 1.0 three times
    assert score(["tpr@fpr=1e-4"], labels=labels, logits=logits, num_classes=2) == {"tpr@fpr=1e-4": 100.0}


def test_live_scores_are_log_odds() -> None:
    logits = np.random.default_rng(0).normal(size=(5, 3))
    probability = np.exp(logits)[:, 2] / np.exp(logits).sum(1)
    assert np.allclose(metrics.live_scores(logits, 2), np.log(probability / (1 - probability)))


@pytest.mark.parametrize("k", [1, 5])
def test_retrieval_equals_plain_loops(k: int) -> None:
    rng = np.random.default_rng(1)
    features, gallery = rng.normal(size=(40, 6)), rng.normal(size=(70, 6))
    labels, gallery_labels = rng.integers(0, 5, 40), rng.integers(0, 5, 70)
    hits = 0
    for query, label in zip(features, labels, strict=True):
        cosines = []
        for item, of_item in zip(gallery, gallery_labels, strict=True):
            dot = sum(a * b for a, b in zip(query, item, strict=True))
            cosines.append((-dot / (math.hypot(*query) * math.hypot(*item)), of_item))
        hits += any(of_item == label for _, of_item in sorted(cosines)[:k])
    values = score(
        [f"r@{k}"],
        labels=labels,
        logits=np.zeros((40, 5)),
        num_classes=5,
        features=features,
        gallery=(gallery, gallery_labels),
    )
    assert values == {f"r@{k}": pytest.approx(100 * hits / 40)}


def test_retrieval_ignores_the_length_of_features() -> None:
    gallery = np.array([[100.0, 1.0], [0.0, 0.1]])
    assert metrics.recall_at_k(np.array([[0.1, 1.0]]), np.array([1]), gallery, np.array([0, 1]), 1) == 100.0


# --- errors -------------------------------------------------------------------------------------------------


def test_an_unknown_metric_is_reported_with_near_matches() -> None:
    with pytest.raises(UnknownName, match="did you mean 'accuracy'"):
        load_plugins(only="pmbench").metric("acuracy")


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("r@1", "features of the test"),
        ("acer_worst", "attack type"),
        ("acer", "class 1"),
        ("apcer", "undefined"),
    ],
)
def test_missing_inputs_are_named(name: str, missing: str) -> None:
    labels = np.array([1, 1]) if name == "apcer" else np.array([0, 0])
    with pytest.raises(UsageError, match=missing):
        score([name], labels=labels, logits=np.eye(2), num_classes=2)


def test_a_missing_gallery_is_named() -> None:
    with pytest.raises(UsageError, match="gallery of training samples"):
        score(["r@5"], labels=np.array([0]), logits=np.zeros((1, 2)), num_classes=2, features=np.ones((1, 3)))


@pytest.mark.parametrize(
    ("labels", "logits"),
    [
        ([0, -1], np.eye(2)),
        ([0, 2], np.eye(2)),
        ([0, 1], np.eye(3)[:2]),
        ([0, 1], np.full((2, 2), np.nan)),
        ([0], np.eye(2)),
    ],
)
def test_invalid_labels_and_logits_are_refused(labels: list[int], logits: np.ndarray) -> None:
    with pytest.raises(UsageError, match="expected"):
        score(["accuracy"], labels=np.array(labels), logits=logits, num_classes=2)


def test_every_metric_is_between_0_and_100() -> None:
    rng = np.random.default_rng(5)
    labels, gallery_labels = rng.integers(0, 2, 50), rng.integers(0, 2, 60)
    values = score(
        METRICS,
        labels=labels,
        logits=rng.normal(size=(50, 2)),
        num_classes=2,
        features=rng.normal(size=(50, 4)),
        gallery=(rng.normal(size=(60, 4)), gallery_labels),
        attack_types=["print", "replay"] * 25,
    )
    assert list(values) == list(METRICS)
    assert all(0 <= value <= 100 for value in values.values())
    assert {name for name, m in METRICS.items() if not m.higher_is_better} == {
        "apcer", "bpcer", "acer", "acer_worst", "acer_mmh", "hter"
    }  # fmt: skip
