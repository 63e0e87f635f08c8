"""How much the agreement of two networks depends on each feature of one of them."""

from __future__ import annotations

import torch
from torch import Tensor


def salience(pooled: Tensor, weight: Tensor, logits: Tensor, reference: Tensor, permutations: int) -> Tensor:
    """Mean squared distance of a network's logits to `reference` when one feature is permuted over the batch.

    pooled (n, D) the features, weight (K, D) of the linear head on them, logits (n, K) its output, reference
    (n, K) the partner's logits -> (D,), the mean over `permutations` draws, one order for each feature. It is
    large for features on which both networks depend. Step 2 of algorithm 1 of arXiv:2206.06487.
    """
    found = torch.zeros_like(pooled[0])
    gap = (logits - reference).unsqueeze(1)
    for _ in range(permutations):
        order = torch.rand(pooled.shape, device=pooled.device).argsort(0)
        moved = (pooled.gather(0, order) - pooled).unsqueeze(2) * weight.T  # (n, D, K)
        found += ((gap + moved) ** 2).mean((0, 2))
    return found / permutations
