"""The terms of graph_distill. n samples, which may be 0: a term is then 0."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def weighted_cosines(pairs: Sequence[tuple[Tensor, Tensor]], weights: Tensor) -> Tensor:
    """sum_j mean_b w_bj (1 - cos(a_j, b_j)); pairs (a, b), (n, D_j) each, b detached; weights (n, S)."""
    each = [1 - F.cosine_similarity(own, other.detach(), dim=1) for own, other in pairs]
    return (weights * torch.stack(each, 1)).sum() / max(len(weights), 1)


def far_from_prior(soft: Tensor) -> Tensor:
    """|mean_b s_b - 1/S|^2 of weights s (n, S) whose rows sum to 1."""
    if not len(soft):
        return soft.sum()
    return ((soft.mean(0) - 1 / soft.shape[1]) ** 2).sum()
