"""RAD and DAD in plain loops over numpy arrays: slow, independent of torch, for comparison only."""

from __future__ import annotations

import itertools
import math

import numpy as np


def softmax(row, temperature=1.0):
    largest = max(v / temperature for v in row)
    powers = [math.exp(v / temperature - largest) for v in row]
    return [p / sum(powers) for p in powers]


def adaptive(phi, cells):
    """(B, C, *grid) -> (B, C, cells, ...), bin i of an axis of n: floor(i n/cells) to ceil((i+1) n/cells)."""
    bins = [
        [(math.floor(i * n / cells), math.ceil((i + 1) * n / cells)) for i in range(cells)]
        for n in phi.shape[2:]
    ]
    out = np.zeros((*phi.shape[:2], *[cells] * len(bins)))
    for b, c in itertools.product(range(phi.shape[0]), range(phi.shape[1])):
        for cell in itertools.product(range(cells), repeat=len(bins)):
            total, count = 0.0, 0
            ranges = [range(*bins[axis][i]) for axis, i in enumerate(cell)]
            for position in itertools.product(*ranges):
                total, count = total + phi[(b, c, *position)], count + 1
            out[(b, c, *cell)] = total / count
    return out


def regions(phi, scales=(1, 2, 4)):
    """(B, C, *grid) -> (B, N, C)."""
    found = []
    for s in scales:
        cells = adaptive(phi, 4 // s)
        for cell in itertools.product(range(4 // s), repeat=phi.ndim - 2):
            found.append(cells[(slice(None), slice(None), *cell)])
    return np.stack(found, 1)


def linear(vectors, weight, bias):
    """(..., C) -> (..., K)."""
    out = np.zeros((*vectors.shape[:-1], len(bias)))
    for index in np.ndindex(out.shape):
        out[index] = bias[index[-1]] + sum(
            vectors[(*index[:-1], c)] * weight[index[-1], c] for c in range(vectors.shape[-1])
        )
    return out


def divergences(teacher, student, temperature):
    """(B, N, K) each -> list of N."""
    found = []
    for n in range(teacher.shape[1]):
        total = 0.0
        for b in range(teacher.shape[0]):
            p, q = softmax(teacher[b, n], temperature), softmax(student[b, n], temperature)
            total += sum(pc * (math.log(pc) - math.log(qc)) for pc, qc in zip(p, q, strict=True))
        found.append(temperature**2 * total / teacher.shape[0])
    return found


def omega(g, query, key):
    """sum over rows of softmax_rows(k q^T), divided by N."""
    n = len(g)
    q = [sum(query[i, j] * g[j] for j in range(n)) for i in range(n)]
    k = [sum(key[i, j] * g[j] for j in range(n)) for i in range(n)]
    weights = [0.0] * n
    for i in range(n):
        for j, a in enumerate(softmax([k[i] * q[j] for j in range(n)])):
            weights[j] += a / n
    return weights


def discrepancies(phi):
    """(B, ...) -> (B, B)."""
    rows = [phi[b].ravel() for b in range(len(phi))]
    out = np.zeros((len(rows), len(rows)))
    for j, k in np.ndindex(out.shape):
        dot = sum(x * y for x, y in zip(rows[j], rows[k], strict=True))
        lengths = [math.sqrt(sum(x * x for x in r)) for r in (rows[j], rows[k])]
        out[j, k] = 0.5 - 0.5 * dot / (lengths[0] * lengths[1])
    return out


def similarities(phi):
    rows = [phi[b].ravel() for b in range(len(phi))]
    out = np.zeros((len(rows), len(rows)))
    for j, k in np.ndindex(out.shape):
        out[j, k] = sum(x * y for x, y in zip(rows[j], rows[k], strict=True))
    for j in range(len(rows)):
        out[j] /= math.sqrt(sum(v * v for v in out[j]))
    return out


def relation_distance(teacher, student, form):
    total = 0.0
    for a, b in zip(teacher, student, strict=True):
        relation = similarities if form == "sp_mse" else discrepancies
        first, second = relation(a), relation(b)
        squared = sum((x - y) ** 2 for x, y in zip(first.ravel(), second.ravel(), strict=True))
        total += math.sqrt(squared) if form == "cos_fro" else squared / first.size
    return total
