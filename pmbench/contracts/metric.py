"""Metrics of predictions on the test part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Evidence:
    """Inputs of a metric: labels and predicted classes (N,), logits (N, K), features (N, D), gallery
    ((M, D), (M,) labels), attack types (N,), unused for live samples.

    `num_classes` is K, `positive` the class that a metric of detection looks for, `attack_types` names each
    sample's.
    """

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
    """A named metric. `function(evidence)` returns its value, usually in percent; `title` heads its column,
    `name` is what data sets call it; `higher_is_better` says which direction is good.

    `needs` is its input besides labels. The optional `of_counts(counts, positive)` maps counts of samples by
    class (..., K) (`pmbench.metrics.counts.Counts`) to values (...), nan for 0/0; with it the metric is
    recomputed from records and resampled on the board. `looks_at_called`: whether it reads `Counts.called`.
    """

    name: str
    title: str
    needs: Literal["predicted", "logits", "features"]
    function: Callable[[Evidence], float] = field(repr=False)
    of_counts: Callable[[Any, int], np.ndarray] | None = field(default=None, repr=False)
    looks_at_called: bool = True
    higher_is_better: bool = True

    @property
    def recomputable(self) -> bool:
        """Whether labels and predicted classes are enough."""
        return self.of_counts is not None
