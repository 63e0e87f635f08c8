"""Region-aware and discrepancy-aware distillation as functions of maps and logits."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

import pmbench as pm

SIDE = 4
"""Cells along an axis that maps are pooled to before the pyramid (w in the paper)."""

_EPS = 1e-6


def regions(features: Tensor, axes: int, scales: tuple[int, ...]) -> Tensor:
    """Means over 4/s cells along each axis for every scale s, by adaptive average pooling.

    features (B, C, *grid) with `axes` 1 (time) or 2 (height, width; a time axis before them is averaged
    away) -> (B, N, C), N = sum over s of (4/s)^axes, finest first in reading order. Eq. 2-4 of the paper,
    which pools to 4 cells first: the same where 4 divides the grid; elsewhere its cells overlap, so that the
    mean of all is not that of the map.
    Erratum: its cell index divides by s where the number of cells in a row, 4/s, is meant.
    """
    while features.dim() - 2 > axes:
        features = features.mean(2)
    cells = _cells(tuple(features.shape[2:]), scales).to(features)
    return features.flatten(2).matmul(cells.T).transpose(1, 2)


@functools.lru_cache(maxsize=64)
def _cells(grid: tuple[int, ...], scales: tuple[int, ...]) -> Tensor:
    """(N, positions): row n averages the positions of region n. One matrix product, so that its gradient is
    deterministic on every device, which that of adaptive pooling is not.
    """
    rows = []
    for s in scales:
        per_axis = [_bins(n, SIDE // s) for n in grid]
        rows.append(functools.reduce(torch.kron, per_axis))
    return torch.cat(rows)


def _bins(length: int, count: int) -> Tensor:
    """(count, length): the bins of adaptive pooling, which overlap where `count` does not divide `length`."""
    bins = torch.zeros(count, length, dtype=torch.float64)
    for i in range(count):
        start, end = i * length // count, -(-(i + 1) * length // count)
        bins[i, start:end] = 1 / (end - start)
    return bins


def region_divergences(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """g_n = T^2 KL(softmax(teacher_n/T) || softmax(student_n/T)), mean over the batch (eq. 5).

    Both (B, N, K) -> (N,), zeros for B = 0; the teacher is detached.
    """
    log_teacher = (teacher.detach() / temperature).log_softmax(2)
    log_student = (student / temperature).log_softmax(2)
    summed = (log_teacher.exp() * (log_teacher - log_student)).sum((0, 2))
    return summed * (temperature**2 / max(len(student), 1))


def discrepancies(features: Tensor) -> Tensor:
    """D(j, k) = 1/2 - 1/2 cos(H_j, H_k) of flattened maps (eq. 11-13): (B, ...) -> (B, B) in [0, 1]."""
    unit = _unit_rows(features.flatten(1))
    return (1 - unit @ unit.T) / 2


def similarities(features: Tensor) -> Tensor:
    """Dot products of flattened maps, rows of unit length: (B, ...) -> (B, B), as in the released code."""
    flat = features.flatten(1)
    return _unit_rows(flat @ flat.T)


def relation_distance(teacher: Sequence[Tensor], student: Sequence[Tensor], form: str) -> Tensor:
    """Distance between the relations among the samples of a batch, summed over pairs of maps (eq. 14).

    Maps (B, ...) of equal B -> scalar; the teacher's are detached; 0 for B = 0.
    "cos_mse": mean over B^2 of (D_m - D_i)^2; "cos_fro": Frobenius norm of D_m - D_i; "sp_mse": mean over
    B^2 of the squared differences of `similarities`.
    """
    relation = similarities if form == "sp_mse" else discrepancies
    distances = []
    for a, b in zip(teacher, student, strict=True):
        squared = ((relation(a.detach()) - relation(b)) ** 2).sum()
        if form == "cos_fro":  # the root's slope is bounded at equality
            distances.append((squared + _EPS**2).sqrt() - _EPS)
        else:
            distances.append(squared / max(len(a) ** 2, 1))
    return torch.stack(distances).sum()


def region_logits(
    networks: Sequence[pm.Classifier], outputs: Sequence[pm.Output], axes: int, scales: tuple[int, ...]
) -> Tensor:
    """Logits of the networks' own heads on each region of their last maps, averaged over the networks.

    -> (B, N, K); with `axes` 0 the one region is the whole input, and its logits are those of the networks.
    """
    each = [
        network.head(regions(output.maps[-1], axes, scales)) if axes else output.logits.unsqueeze(1)
        for network, output in zip(networks, outputs, strict=True)
    ]
    return torch.stack(each).mean(0)


def _unit_rows(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=1, keepdim=True).clamp(min=_EPS)
