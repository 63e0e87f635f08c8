"""The built-in metrics, by name, in percent (0..100).

The recall of a class without samples is 0/0: means over classes run over the classes that occur in the
labels, and a rate over an empty set raises UsageError. By convention `f1` with neither positive samples nor
positive predictions is 0, and each half of `acer_mmh` is 0 if no sample was predicted as its class.

Face anti-spoofing: the positive class is live (bona fide), every other class is an attack.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..contracts.metric import Evidence, Metric
from ..errors import UsageError
from . import counts
from .counts import Counts

# --- metrics over scores and features -----------------------------------------------------------------------


def tpr_at_fpr(labels: np.ndarray, scores: np.ndarray, fpr: float, positive: int = 1) -> float:
    """Highest TPR, in percent, of a threshold that accepts at most the share `fpr` of the attacks.

    `labels`, `scores` (N,); a higher score is more live. Not interpolated: with fewer than 1 / fpr attacks,
    none is accepted. Raises UsageError if the labels hold one class only.
    """
    live = np.asarray(labels) == positive
    attacks = np.sort(np.asarray(scores)[~live])[::-1]
    if live.all() or not live.any():
        raise UsageError(f"metric 'tpr@fpr={fpr:g}' is undefined: the labels hold one class only")
    allowed = min(int(np.floor(fpr * attacks.size + 1e-9)), attacks.size - 1)
    return 100 * float(np.mean(np.asarray(scores)[live] > attacks[allowed]))


def live_scores(logits: np.ndarray, positive: int = 1) -> np.ndarray:
    """(N, K) logits -> (N,) log odds of the positive class, ordered as its probability without saturating."""
    logits = np.asarray(logits, float)
    others = np.delete(logits, positive, axis=1)
    top = others.max(1)
    return logits[:, positive] - top - np.log(np.exp(others - top[:, None]).sum(1))


def recall_at_k(
    features: np.ndarray, labels: np.ndarray, gallery: np.ndarray, gallery_labels: np.ndarray, k: int
) -> float:
    """Percentage of queries (N, D) of whose k nearest gallery items (M, D), by cosine, one has their class.

    The gallery is the training samples. Among equally near items the earlier one counts as nearer. Raises
    UsageError unless every query and gallery item has a label.
    """
    labels, gallery_labels = np.asarray(labels), np.asarray(gallery_labels)
    lengths = len(features), len(gallery)
    if lengths != (len(labels), len(gallery_labels)) or 0 in lengths:
        raise UsageError(
            f"metric 'r@{k}' got {len(features)} features for {len(labels)} labels, and a gallery of "
            f"{len(gallery)} features for {len(gallery_labels)} labels; expected equal numbers above 0"
        )
    unit_gallery = _unit(gallery).T
    hits = 0
    for start in range(0, len(labels), 1024):  # bounds the memory of the similarities
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
        samples = Counts.of(evidence.labels, evidence.predicted, evidence.num_classes)
        value = float(of_counts(samples, evidence.positive))
        if np.isnan(value):
            raise UsageError(
                f"metric {name!r} is undefined: it needs samples of class {evidence.positive} and of others"
            )
        return value

    return Metric(
        name, title, "predicted", function, of_counts, looks_at_called, higher_is_better=higher_is_better
    )


def _acer_worst(evidence: Evidence) -> float:
    """ACER with the APCER of the worst attack type (ISO 30107-3)."""
    if evidence.attack_types is None:
        raise UsageError("metric 'acer_worst' needs the attack type of every sample; none were given")
    labels, predicted, positive = evidence.labels, evidence.predicted, evidence.positive
    types = np.asarray(evidence.attack_types)
    if types.shape != labels.shape:
        raise UsageError(f"metric 'acer_worst' got {types.size} attack types for {labels.size} samples")
    attack = labels != positive
    if not attack.any():
        raise UsageError("metric 'acer_worst' is undefined: the labels hold no attack")
    worst = max(np.mean(predicted[attack & (types == t)] == positive) for t in np.unique(types[attack]))
    return (100 * float(worst) + METRICS["bpcer"].function(evidence)) / 2


def _tpr(rate: str) -> Metric:
    def function(evidence: Evidence) -> float:
        """Highest true positive rate of a threshold with at most this false positive rate."""
        if evidence.logits is None:
            raise UsageError(f"metric 'tpr@fpr={rate}' needs logits; none were given")
        scores = live_scores(evidence.logits, evidence.positive)
        return tpr_at_fpr(evidence.labels, scores, float(rate), evidence.positive)

    return Metric(f"tpr@fpr={rate}", f"TPR at FPR {rate}", "logits", function)


def _recall(k: int) -> Metric:
    def function(evidence: Evidence) -> float:
        """Share of test samples with one of their class among the k nearest of the gallery, by cosine."""
        if evidence.features is None or evidence.gallery is None:
            missing = (
                "features of the test samples"
                if evidence.features is None
                else "a gallery of training samples"
            )
            raise UsageError(f"metric 'r@{k}' needs {missing}; none were given")
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


def evidence_of(
    labels: np.ndarray,
    logits: np.ndarray,
    num_classes: int,
    positive: int = 1,
    features: np.ndarray | None = None,
    gallery: tuple[np.ndarray, np.ndarray] | None = None,
    attack_types: Sequence[str] | None = None,
) -> Evidence:
    """Inputs of metrics from labels (N,) and logits (N, K); predictions are the arg-max, the first of equals.

    `features` (N, D) and `gallery` ((M, D), (M,) labels) are for retrieval, `attack_types` (N,) for
    `acer_worst`. Raises UsageError unless the
    logits are (N, num_classes) without nan.
    """
    logits = np.asarray(logits)
    if logits.ndim != 2 or logits.shape[1] != num_classes or np.isnan(logits).any():
        raise UsageError(f"logits {logits.shape}: expected (N, {num_classes}) without nan")
    return Evidence(
        np.asarray(labels),
        logits.argmax(1),
        num_classes,
        logits,
        positive,
        features,
        gallery,
        attack_types,
    )
