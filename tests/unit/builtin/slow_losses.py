"""Losses in plain loops over numpy arrays: slow, independent of torch, for comparison only."""

from __future__ import annotations

import math


def softmax(row, temperature=1.0):
    largest = max(v / temperature for v in row)
    powers = [math.exp(v / temperature - largest) for v in row]
    return [p / sum(powers) for p in powers]


def cross_entropy(logits, labels):
    rows = [(row, y) for row, y in zip(logits, labels, strict=True) if y >= 0]
    return sum(-math.log(softmax(row)[y]) for row, y in rows) / max(len(rows), 1)


def kl_divergence(teacher, student, temperature, rows=None):
    rows = range(len(teacher)) if rows is None else rows
    total = 0.0
    for b in rows:
        p, q = softmax(teacher[b], temperature), softmax(student[b], temperature)
        for c in range(len(p)):
            total += p[c] * (math.log(p[c]) - math.log(q[c]))
    return temperature**2 * total / len(rows)


def soft_cross_entropy(teacher, student, teacher_temperature, student_temperature=1.0, rows=None):
    rows = range(len(teacher)) if rows is None else rows
    total = 0.0
    for b in rows:
        p, q = softmax(teacher[b], teacher_temperature), softmax(student[b], student_temperature)
        for c in range(len(p)):
            total -= p[c] * math.log(q[c])
    return total / len(rows)


def entropy(logits, temperature):
    total = 0.0
    for row in logits:
        total -= sum(p * math.log(p) for p in softmax(row, temperature))
    return total / len(logits)


def mse(a, b):
    total = 0.0
    for x, y in zip(a.ravel(), b.ravel(), strict=True):
        total += (x - y) ** 2
    return total / a.size


def sigmoid_sse(a, b, rows):
    """Sum of squared differences of sigmoids over the samples in `rows`."""
    total = 0.0
    for n in rows:
        for x, y in zip(a[n].ravel(), b[n].ravel(), strict=True):
            total += (1 / (1 + math.exp(-x)) - 1 / (1 + math.exp(-y))) ** 2
    return total
