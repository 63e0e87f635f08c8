"""The terms of cgan. Verdicts are logits (n,), features (n, k); n may be 0, and a term is then 0."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

EPS = 1e-12


def is_real(verdict: Tensor) -> Tensor:
    """-E log D, with D = sigmoid(verdict)."""
    return F.softplus(-verdict).sum() / max(len(verdict), 1)


def is_fake(verdict: Tensor) -> Tensor:
    """-E log(1 - D)."""
    return is_real(-verdict)


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
    "u": the bias-corrected one of U-centered distances (Szekely, Rizzo, Annals of Statistics 2014), which
    estimates the square, is about 0 for independent rows, may be negative, and therefore has no root.
    """
    a, b = _centered_distances(x, form), _centered_distances(y, form)
    ratio = (a * b).mean() / ((a * a).mean() * (b * b).mean() + EPS).sqrt()
    return ratio.clamp(EPS, 1).sqrt() if form == "biased" else ratio


def decorrelation_sum(privileged: Tensor, generated: Tensor, form: str) -> Tensor:
    """n (1 - dCor(F_M, F_G)), F_M detached; 0 for n < 4, since the U-centered form divides by n - 3."""
    n = len(generated)
    if n < 4:
        return 0 * generated.sum()
    return n * (1 - distance_correlation(privileged.detach(), generated, form))


def _centered_distances(x: Tensor, form: str) -> Tensor:
    """(n, n) Euclidean distances, centered by rows and columns; no gradient at distance 0.

    "u": d_ij - d_i. / (n-2) - d_.j / (n-2) + d_.. / ((n-1)(n-2)) off the diagonal, 0 on it.
    """
    n, d = len(x), torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
    if form == "biased":
        return d - d.mean(0) - d.mean(1, keepdim=True) + d.mean()
    moved = d - d.sum(0) / (n - 2) - d.sum(1, keepdim=True) / (n - 2) + d.sum() / ((n - 1) * (n - 2))
    return moved * (1 - torch.eye(n, dtype=d.dtype, device=d.device))
