"""The terms of cgan. Verdicts are logits (n,), features (n, k); n may be 0, and a term is then 0."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

EPS = 1e-12
FEWEST = 4
"""Samples below which there is no distance correlation: its bias-corrected form divides by n - 3."""


def takes_for_real(verdict: Tensor) -> Tensor:
    """-E log D, with D = sigmoid(verdict)."""
    return _mean(F.softplus(-verdict))


def takes_for_fake(verdict: Tensor) -> Tensor:
    """-E log(1 - D)."""
    return _mean(F.softplus(verdict))


def deception(verdict: Tensor, saturating: bool) -> Tensor:
    """What G minimises: -E log D, or E log(1 - D) as the minimax game of eq. 1 has it."""
    return -takes_for_fake(verdict) if saturating else takes_for_real(verdict)


def class_sum(logits: Tensor, labels: Tensor) -> Tensor:
    """Softmax cross-entropy summed over the samples that have a label (eq. 3, both of its halves).

    For two classes it is the binary cross-entropy of sigmoid(z_1 - z_0).
    """
    return F.cross_entropy(logits, labels, ignore_index=-1, reduction="sum")


def l2_sum(privileged: Tensor, generated: Tensor) -> Tensor:
    """sum_i |F_M,i - F_G,i|^2; F_M is detached."""
    return ((privileged.detach() - generated) ** 2).sum()


def distance_correlation(x: Tensor, y: Tensor, form: str) -> Tensor:
    """Distance correlation of the rows of x (n, p) and y (n, q), n >= 4; 0 where either is constant.

    "biased": the root of the V-statistic (Szekely, Rizzo, Bakirov, Annals of Statistics 2007), in [0, 1].
    "u": the bias-corrected one of U-centred distances (Szekely, Rizzo, Annals of Statistics 2014), which
    estimates the square, is about 0 for independent rows, may be negative, and therefore has no root.
    """
    centred = _doubly_centred if form == "biased" else _u_centred
    a, b = centred(_distances(x)), centred(_distances(y))
    ratio = (a * b).mean() / ((a * a).mean() * (b * b).mean() + EPS).sqrt()
    return ratio.clamp(EPS, 1).sqrt() if form == "biased" else ratio


def decorrelation_sum(privileged: Tensor, generated: Tensor, form: str) -> Tensor:
    """n (1 - dCor(F_M, F_G)), F_M detached; 0 for n < 4."""
    n = len(generated)
    if n < FEWEST:
        return 0 * generated.sum()
    return n * (1 - distance_correlation(privileged.detach(), generated, form))


def _distances(x: Tensor) -> Tensor:
    """(n, n) Euclidean, without the matrix product that would cost exactness; no gradient at distance 0."""
    return torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")


def _doubly_centred(d: Tensor) -> Tensor:
    return d - d.mean(0) - d.mean(1, keepdim=True) + d.mean()


def _u_centred(d: Tensor) -> Tensor:
    """Off the diagonal d_ij - d_i. / (n-2) - d_.j / (n-2) + d_.. / ((n-1)(n-2)); 0 on it."""
    n = len(d)
    moved = d - d.sum(0) / (n - 2) - d.sum(1, keepdim=True) / (n - 2) + d.sum() / ((n - 1) * (n - 2))
    return moved * (1 - torch.eye(n, dtype=d.dtype, device=d.device))


def _mean(values: Tensor) -> Tensor:
    return values.sum() / max(len(values), 1)
