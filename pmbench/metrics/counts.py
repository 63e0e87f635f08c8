"""Counts of samples by class, and the metrics that are functions of them, in percent.

Vectorized over leading axes, so that reported and resampled metrics share their code. A metric that is 0/0 is
nan; `builtin` raises an error for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import UsageError


def ratio(above: np.ndarray, below: np.ndarray, empty: float = np.nan) -> np.ndarray:
    """above / below, elementwise; `empty` where below is 0."""
    above, below = np.asarray(above, float), np.asarray(below, float)
    return np.divide(above, below, out=np.full(np.broadcast(above, below).shape, empty), where=below > 0)


@dataclass(frozen=True)
class Counts:
    """Counts by class, each (..., K): `support` samples have the label, `called` the prediction, `hits` both.

    `called` is None if no metric needs it.
    """

    support: np.ndarray
    hits: np.ndarray
    called: np.ndarray | None = None

    @classmethod
    def of(cls, labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> Counts:
        """Counts (K,) of labels (N,) and predictions (N,); raises UsageError unless both are in 0..K-1."""
        labels, predicted = np.asarray(labels), np.asarray(predicted)
        if labels.ndim != 1 or labels.shape != predicted.shape or labels.size == 0:
            raise UsageError(
                f"labels {labels.shape} and predictions {predicted.shape}: expected (N,) twice, N > 0"
            )
        for name, values in (("labels", labels), ("predictions", predicted)):
            if values.dtype.kind not in "iu" or values.min() < 0 or values.max() >= num_classes:
                raise UsageError(
                    f"{name} of type {values.dtype} from {values.min()} to {values.max()}; "
                    f"expected whole numbers from 0 to {num_classes - 1}",
                    "metrics are computed over labelled samples only",
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
            raise UsageError("counts without the predictions by class (`called`)")
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
    """Mean recall over the classes that occur in the labels."""
    return counts.class_mean(100 * ratio(counts.hits, counts.support))


def macro_f1(counts: Counts, positive: int) -> np.ndarray:
    """Mean F1 over the classes that occur in the labels."""
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
    """(APCER + BPCER) / 2 at the arg-max, attack types pooled; equals HTER at one threshold."""
    return (apcer(counts, positive) + bpcer(counts, positive)) / 2


def acer_mmh(counts: Counts, positive: int) -> np.ndarray:
    """(FN / (FN + TN) + FP / (FP + TP)) / 2: "ACER" as the released MMH code computes it.

    The rates are conditioned on the prediction and depend on the class balance. Equals `acer` if FN = FP.
    """
    tp, fp, fn, tn = counts.table(positive)
    return 50 * (ratio(fn, fn + tn, empty=0.0) + ratio(fp, fp + tp, empty=0.0))
