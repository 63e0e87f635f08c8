"""Every metric, by name, in percent (0..100).

A class that no sample has would make a recall 0/0: means over classes run over the classes that occur in the
labels, and a rate over an empty set raises UsageError. By convention `f1` with neither positive samples nor
positive predictions is 0, and each half of `acer_mmh` is 0 if no sample was called so.

Face anti-spoofing: the positive class is live (bona fide), every other class is an attack.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..errors import UnknownName, UsageError
from . import counts
from .counts import Counts


@dataclass(frozen=True)
class Evidence:
    """Metrics use: labels, predicted (N,), logits (N, K), features (N, D), gallery ((M, D), (M,) labels)."""

    labels: np.ndarray
    predicted: np.ndarray
    num_classes: int
    logits: np.ndarray | None = None
    positive: int = 1
    features: np.ndarray | None = None
    gallery: tuple[np.ndarray, np.ndarray] | None = None
    attack_types: Sequence[str] | None = None


@dataclass(frozen=True)
class Metric:
    """A named metric. `needs`: what it is computed from, besides labels.

    `of_counts(counts, positive)`, where there is one, gives it (...) for counts (..., K), nan where 0/0;
    `looks_at_called` says whether it reads `Counts.called`.
    """

    name: str
    title: str
    needs: Literal["predicted", "logits", "features"]
    function: Callable[[Evidence], float] = field(repr=False)
    of_counts: Callable[[Counts, int], np.ndarray] | None = field(default=None, repr=False)
    looks_at_called: bool = True
    higher_is_better: bool = True
    percent: bool = True

    @property
    def recomputable(self) -> bool:
        """Whether labels and predicted classes are enough."""
        return self.of_counts is not None


# --- metrics over predictions, (N,) and (N,) -> percent -----------------------------------------------------


def _by_name(name: str, labels: np.ndarray, predicted: np.ndarray, positive: int) -> float:
    size = 1 + max(int(np.max(labels)), int(np.max(predicted)), positive)
    return METRICS[name].function(Evidence(labels, predicted, size, positive=positive))


def accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Top-1: correct / all. `wa`, the weighted accuracy of emotion recognition, is the same."""
    return _by_name("accuracy", labels, predicted, 0)


def mean_class_accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Mean of the recalls of the classes in the labels. `ua`, unweighted accuracy, is the same."""
    return _by_name("mean_class_accuracy", labels, predicted, 0)


def macro_f1(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Mean of the per-class F1, over the classes in the labels."""
    return _by_name("macro_f1", labels, predicted, 0)


def f1(labels: np.ndarray, predicted: np.ndarray, positive: int = 1) -> float:
    """2TP / (2TP + FP + FN) of the positive class."""
    return _by_name("f1", labels, predicted, positive)


def apcer(labels: np.ndarray, predicted: np.ndarray, positive: int = 1) -> float:
    """Attacks accepted / attacks, all attack types pooled."""
    return _by_name("apcer", labels, predicted, positive)


def bpcer(labels: np.ndarray, predicted: np.ndarray, positive: int = 1) -> float:
    """Live rejected / live."""
    return _by_name("bpcer", labels, predicted, positive)


def acer(labels: np.ndarray, predicted: np.ndarray, positive: int = 1) -> float:
    """(APCER + BPCER) / 2 at arg-max, attack types pooled. `hter` is the same at one threshold."""
    return _by_name("acer", labels, predicted, positive)


def acer_mmh(labels: np.ndarray, predicted: np.ndarray, positive: int = 1) -> float:
    """(FN / (FN + TN) + FP / (FP + TP)) / 2: "ACER" as the released MMH code computes it.

    The rates are conditioned on the prediction, so it moves with the class balance; equals `acer` if FN = FP.
    """
    return _by_name("acer_mmh", labels, predicted, positive)


def acer_worst(
    labels: np.ndarray, predicted: np.ndarray, attack_types: Sequence[str], positive: int = 1
) -> float:
    """ACER with the APCER of the worst attack type (ISO 30107-3). `attack_types` (N,); unused if live."""
    labels, predicted, types = np.asarray(labels), np.asarray(predicted), np.asarray(attack_types)
    if types.shape != labels.shape:
        raise UsageError(f"metric 'acer_worst' got {types.size} attack types for {labels.size} samples")
    attack = labels != positive
    if not attack.any():
        raise UsageError("metric 'acer_worst' is undefined: the labels hold no attack")
    worst = max(np.mean(predicted[attack & (types == t)] == positive) for t in np.unique(types[attack]))
    return (100 * float(worst) + bpcer(labels, predicted, positive)) / 2


# --- metrics over scores and features -----------------------------------------------------------------------


def tpr_at_fpr(labels: np.ndarray, scores: np.ndarray, fpr: float, positive: int = 1) -> float:
    """Highest share of live samples accepted by a threshold that accepts at most `fpr` of the attacks.

    `scores` (N,), higher is more live. No interpolation: with fewer than 1 / fpr attacks none may pass.
    """
    live = np.asarray(labels) == positive
    attacks = np.sort(np.asarray(scores)[~live])[::-1]
    if live.all() or not live.any():
        raise UsageError(f"metric 'tpr@fpr={fpr:g}' is undefined: the labels hold one class only")
    allowed = min(int(np.floor(fpr * attacks.size + 1e-9)), attacks.size - 1)
    return 100 * float(np.mean(np.asarray(scores)[live] > attacks[allowed]))


def live_scores(logits: np.ndarray, positive: int = 1) -> np.ndarray:
    """(N, K) logits -> (N,) log odds of the positive class: ordered like its probability, never saturated."""
    logits = np.asarray(logits, float)
    others = np.delete(logits, positive, axis=1)
    top = others.max(1)
    return logits[:, positive] - top - np.log(np.exp(others - top[:, None]).sum(1))


def recall_at_k(
    features: np.ndarray, labels: np.ndarray, gallery: np.ndarray, gallery_labels: np.ndarray, k: int
) -> float:
    """Share of queries (N, D) with one of the k nearest gallery items (M, D), by cosine, in their class.

    The gallery is the training samples. Of equally near items the earlier counts as nearer.
    """
    labels, gallery_labels = np.asarray(labels), np.asarray(gallery_labels)
    if (
        len(features) != len(labels)
        or len(gallery) != len(gallery_labels)
        or not len(gallery)
        or not len(labels)
    ):
        raise UsageError(
            f"metric 'r@{k}' got {len(features)} features for {len(labels)} labels, and a gallery of "
            f"{len(gallery)} features for {len(gallery_labels)} labels; expected equal numbers above 0"
        )
    unit_gallery = _unit(gallery).T
    hits = 0
    for start in range(0, len(labels), 1024):  # bounds the similarities held at once
        similar = _unit(features[start : start + 1024]) @ unit_gallery
        nearest = np.argsort(-similar, axis=1, kind="stable")[:, :k]
        hits += int((gallery_labels[nearest] == labels[start : start + 1024, None]).any(1).sum())
    return 100 * hits / len(labels)


def _unit(features: np.ndarray) -> np.ndarray:
    features = np.asarray(features, float)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


# --- the registry -------------------------------------------------------------------------------------------


def _counted(
    name: str,
    title: str,
    of_counts: Callable[[Counts, int], np.ndarray],
    *,
    looks_at_called: bool = True,
    higher_is_better: bool = True,
) -> Metric:
    def function(evidence: Evidence) -> float:
        of_samples = Counts.of(evidence.labels, evidence.predicted, evidence.num_classes)
        value = float(of_counts(of_samples, evidence.positive))
        if np.isnan(value):
            raise UsageError(
                f"metric {name!r} is undefined: it needs samples of class {evidence.positive} and of others"
            )
        return value

    return Metric(
        name, title, "predicted", function, of_counts, looks_at_called, higher_is_better=higher_is_better
    )


def _acer_worst(evidence: Evidence) -> float:
    if evidence.attack_types is None:
        raise UsageError("metric 'acer_worst' needs the attack type of every sample, and none were given")
    return acer_worst(evidence.labels, evidence.predicted, evidence.attack_types, evidence.positive)


def _tpr(rate: str) -> Metric:
    def function(evidence: Evidence) -> float:
        if evidence.logits is None:
            raise UsageError(f"metric 'tpr@fpr={rate}' needs logits, and none were given")
        scores = live_scores(evidence.logits, evidence.positive)
        return tpr_at_fpr(evidence.labels, scores, float(rate), evidence.positive)

    return Metric(f"tpr@fpr={rate}", f"TPR at FPR {rate}", "logits", function)


def _recall(k: int) -> Metric:
    def function(evidence: Evidence) -> float:
        if evidence.features is None or evidence.gallery is None:
            missing = (
                "features of the test samples"
                if evidence.features is None
                else "a gallery of training samples"
            )
            raise UsageError(f"metric 'r@{k}' needs {missing}, and none were given")
        return recall_at_k(evidence.features, evidence.labels, *evidence.gallery, k)

    return Metric(f"r@{k}", f"R@{k}", "features", function)


_ALL = (
    _counted("accuracy", "accuracy", counts.accuracy, looks_at_called=False),
    _counted("mean_class_accuracy", "mean class accuracy", counts.mean_class_accuracy, looks_at_called=False),
    _counted("macro_f1", "macro F1", counts.macro_f1),
    _counted("f1", "F1", counts.f1),
    _counted("wa", "WA", counts.accuracy, looks_at_called=False),
    _counted("ua", "UA", counts.mean_class_accuracy, looks_at_called=False),
    _recall(1),
    _recall(5),
    _counted("apcer", "APCER", counts.apcer, higher_is_better=False),
    _counted("bpcer", "BPCER", counts.bpcer, higher_is_better=False),
    _counted("acer", "ACER", counts.acer, higher_is_better=False),
    Metric("acer_worst", "ACER, worst attack", "predicted", _acer_worst, higher_is_better=False),
    _counted("acer_mmh", "ACER as in MMH's code", counts.acer_mmh, higher_is_better=False),
    _counted("hter", "HTER", counts.acer, higher_is_better=False),
    *(_tpr(rate) for rate in ("1e-2", "1e-3", "1e-4")),
)
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _ALL}


def metric(name: str) -> Metric:
    """The metric called `name`; raises UnknownName."""
    if name not in METRICS:
        raise UnknownName("metric", name, METRICS)
    return METRICS[name]


def score(
    names: Iterable[str],
    *,
    labels: np.ndarray,
    logits: np.ndarray,
    num_classes: int,
    positive: int = 1,
    features: np.ndarray | None = None,
    gallery: tuple[np.ndarray, np.ndarray] | None = None,
    attack_types: Sequence[str] | None = None,
) -> dict[str, float]:
    """The named metrics, in percent. Predicted is the arg-max of `logits` (N, K), of equals the first.

    `features` (N, D) and `gallery` ((M, D), (M,) labels) are for retrieval, `attack_types` (N,) for
    `acer_worst`. Raises UnknownName, and UsageError where something that a metric needs is missing.
    """
    logits = np.asarray(logits)
    if logits.ndim != 2 or logits.shape[1] != num_classes or np.isnan(logits).any():
        raise UsageError(f"logits {logits.shape}: expected (N, {num_classes}) without nan")
    evidence = Evidence(
        np.asarray(labels), logits.argmax(1), num_classes, logits, positive, features, gallery, attack_types
    )
    return {name: metric(name).function(evidence) for name in names}
