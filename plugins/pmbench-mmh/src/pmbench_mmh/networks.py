"""Learned weights of regions, and the sum of two networks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

import pmbench as pm


class RegionWeights(nn.Module):
    """omega, convex weights of N regions, as a learned function of their divergences G (eq. 6 of the paper).

    Att = softmax over rows of (W_k G)(W_q G)^T, without a factor 1/sqrt(N); omega = mean of the rows of Att,
    so that sum(omega G) = sum(Att G) / N. W_q, W_k (N, N) have no bias: 882 parameters for N = 21.
    """

    def __init__(self, regions: int) -> None:
        super().__init__()
        self.query = nn.Linear(regions, regions, bias=False)
        self.key = nn.Linear(regions, regions, bias=False)

    def forward(self, divergences: Tensor) -> Tensor:
        """(N,) -> (N,), summing to 1."""
        return torch.outer(self.key(divergences), self.query(divergences)).softmax(1).mean(0)


class Sum(pm.Mean):
    """Several networks side by side: the sum of their logits, their pooled features joined."""

    def forward(self, batch: Mapping[str, Tensor]) -> pm.Output:
        mean = super().forward(batch)
        return mean._replace(logits=len(self.networks) * mean.logits)
