"""Counts of samples by class, and the metrics that are functions of them, in percent.

Vectorized over leading axes, so that reported and resampled metrics share their code. A metric that is 0/0 is
nan here; metrics.py raises an error for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import UsageError


def ratio(above: np.ndarray, below: np.ndarray, empty: float = np.nan) -> np.ndarray:
    """above / below, `empty` where below is 0."""
    above, below = np.asarray(above, float), np.asarray(below, float)
    return np.divide(above, below, out=np.full(np.broadcast(above, below).shape, empty), where=below > 0)


@dataclass(frozen=True)
class Counts:
    """Samples by class, each (..., K): with that label, predicted as it (optional), and both (`hits`)."""

    support: np.ndarray
    hits: np.ndarray
    called: np.ndarray | None = None

    @classmethod
    def of(cls, labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> Counts:
        """Counts (K,) of labels (N,) and predictions (N,), both 0..K-1; else raises UsageError."""
        labels, predicted = np.asarray(labels), np.asarray(predicted)
        if labels.ndim != 1 or labels.shape != predicted.shape or labels.size == 0:
            raise UsageError(
                f"labels {labels.shape} and predictions {predicted.shape}: expected (N,) twice, N > 0"
            )
        for what, given in (("label", labels), ("prediction", predicted)):
            if given.dtype.kind not in "iu" or given.min() < 0 or given.max() >= num_classes:
                raise UsageError(
                    f"{what}s of type {given.dtype} from {given.min()} to {given.max()}; "
                    f"expected whole numbers from 0 to {num_classes - 1}",
                    "every sample that a metric is computed over has a label",
                )
        hits = labels[labels == predicted]
        return cls(*(np.bincount(x, minlength=num_classes) for x in (labels, hits, predicted)))

    def table(self, positive: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """True positives, false positives, false negatives, true negatives, each (...)."""
        called = self._called()
        tp = self.hits[..., positive]
        fp, fn = called[..., positive] - tp, self.support[..., positive] - tp
        return tp, fp, fn, self.support.sum(-1) - tp - fp - fn

    def _called(self) -> np.ndarray:
        if self.called is None:
            raise UsageError("these counts lack how often each class was called")
        return self.called

    def class_mean(self, values: np.ndarray) -> np.ndarray:
        """Mean of values (..., K) over the classes that have samples."""
        present = self.support > 0
        return np.where(present, values, 0.0).sum(-1) / present.sum(-1)

    def f1_by_class(self) -> np.ndarray:
        return 100 * ratio(2 * self.hits, self.support + self._called(), empty=0.0)


def accuracy(counts: Counts, positive: int) -> np.ndarray:
    """Top-1: correct / all."""
    return 100 * ratio(counts.hits.sum(-1), counts.support.sum(-1))


def mean_class_accuracy(counts: Counts, positive: int) -> np.ndarray:
    """Mean of the recalls of the classes in the labels."""
    return counts.class_mean(100 * ratio(counts.hits, counts.support))


def macro_f1(counts: Counts, positive: int) -> np.ndarray:
    """Mean of the per-class F1, over the classes in the labels."""
    return counts.class_mean(counts.f1_by_class())


def f1(counts: Counts, positive: int) -> np.ndarray:
    """2TP / (2TP + FP + FN) of the positive class."""
    return counts.f1_by_class()[..., positive]


def apcer(counts: Counts, positive: int) -> np.ndarray:
    """Attacks accepted / attacks, all attack types pooled."""
    _, fp, _, tn = counts.table(positive)
    return 100 * ratio(fp, fp + tn)


def bpcer(counts: Counts, positive: int) -> np.ndarray:
    """Live samples rejected / live samples."""
    tp, _, fn, _ = counts.table(positive)
    return 100 * ratio(fn, fn + tp)


def acer(counts: Counts, positive: int) -> np.ndarray:
    """(APCER + BPCER) / 2 at arg-max, attack types pooled. HTER is the same at one threshold."""
    return (apcer(counts, positive) + bpcer(counts, positive)) / 2


def acer_mmh(counts: Counts, positive: int) -> np.ndarray:
    """(FN / (FN + TN) + FP / (FP + TP)) / 2: "ACER" as the released MMH code computes it.

    The rates are conditioned on the prediction, so it moves with the class balance; equals `acer` if FN = FP.
    """
    tp, fp, fn, tn = counts.table(positive)
    return 50 * (ratio(fn, fn + tn, empty=0.0) + ratio(fp, fp + tp, empty=0.0))
