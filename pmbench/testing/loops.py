"""Losses in plain loops over numpy arrays: slow, independent of torch, for comparison only.

logits (B, K), labels (B,) with -1 for none; `rows`: the samples that count, all where not given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Row = Sequence[float] | np.ndarray
Rows = Sequence[int] | np.ndarray | None


def softmax(row: Row, temperature: float = 1.0) -> list[float]:
    largest = max(v / temperature for v in row)
    powers = [math.exp(v / temperature - largest) for v in row]
    return [p / sum(powers) for p in powers]


def cross_entropy(logits: np.ndarray, labels: Row) -> float:
    """Mean over the samples that have a label."""
    rows = [(row, y) for row, y in zip(logits, labels, strict=True) if y >= 0]
    return sum(-math.log(softmax(row)[y]) for row, y in rows) / max(len(rows), 1)


def kl_divergence(teacher: np.ndarray, student: np.ndarray, temperature: float, rows: Rows = None) -> float:
    """T^2 KL(softmax(teacher/T) || softmax(student/T))."""
    rows = range(len(teacher)) if rows is None else rows
    total = 0.0
    for b in rows:
        p, q = softmax(teacher[b], temperature), softmax(student[b], temperature)
        for c in range(len(p)):
            total += p[c] * (math.log(p[c]) - math.log(q[c]))
    return temperature**2 * total / len(rows)


def soft_cross_entropy(
    teacher: np.ndarray,
    student: np.ndarray,
    teacher_temperature: float,
    student_temperature: float = 1.0,
    rows: Rows = None,
) -> float:
    """-sum_c softmax(teacher/T)_c log softmax(student/T')_c."""
    rows = range(len(teacher)) if rows is None else rows
    total = 0.0
    for b in rows:
        p, q = softmax(teacher[b], teacher_temperature), softmax(student[b], student_temperature)
        for c in range(len(p)):
            total -= p[c] * math.log(q[c])
    return total / len(rows)


def entropy(logits: np.ndarray, temperature: float) -> float:
    """Of softmax(logits/T), mean over the samples."""
    total = 0.0
    for row in logits:
        total -= sum(p * math.log(p) for p in softmax(row, temperature))
    return total / len(logits)


def mse(a: np.ndarray, b: np.ndarray) -> float:
    total = 0.0
    for x, y in zip(a.ravel(), b.ravel(), strict=True):
        total += (x - y) ** 2
    return total / a.size
