"""Parts of contrastive methods: a projection head, and a memory bank over the training samples."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ProjectionHead(nn.Linear):
    """Linear layer to unit vectors: features (B, D) -> (B, width)."""

    def forward(self, features: Tensor) -> Tensor:
        return F.normalize(super().forward(features), dim=1)


class MemoryBank(nn.Module):
    """One vector of each training sample of a stage, kept between batches.

    `rows` (N, width) starts uniform within +-sqrt(3 / width), with `unit` at length 1. `labels` (N,) is
    `bench.labels`. `written` (N,) marks the rows that `update` has reached. All are buffers, so that
    checkpoints hold them. Each device would have a bank of its own: a stage with one sets `in_batch`.
    """

    def __init__(self, labels: Tensor, width: int, momentum: float = 0.5, unit: bool = False) -> None:
        super().__init__()
        self.momentum = momentum
        bound = (3 / width) ** 0.5
        start = torch.empty(len(labels), width).uniform_(-bound, bound)
        self.rows: Tensor = nn.Buffer(F.normalize(start, dim=1) if unit else start)
        self.labels = nn.Buffer(labels.clone())
        self.written: Tensor = nn.Buffer(torch.zeros(len(labels), dtype=torch.bool))

    def others(self, index: Tensor) -> Tensor:
        """(B, N) bool: samples that are not known to share the class of samples `index` (B,).

        A sample without label is of no class: it is another than all samples but itself.
        """
        own, itself = self.labels[index][:, None], index[:, None]
        same = (own == self.labels) & (own >= 0)
        return ~same & (torch.arange(len(self.labels), device=index.device) != itself)

    def negatives(self, index: Tensor, count: int, only_written: bool = False) -> tuple[Tensor, Tensor]:
        """Negatives of samples `index` (B,), drawn without replacement: positions (B, k), valid (B, k) bool.

        Each sample has min(`count`, number of its `others`) valid ones. With `only_written`, rows that still
        hold their start are no negatives.
        """
        allowed = self.others(index)
        if only_written:
            allowed = allowed & self.written
        total = len(self.labels)
        if count >= total:
            return torch.arange(total, device=index.device).expand(len(index), total), allowed
        keys = torch.rand(allowed.shape, device=index.device).masked_fill(~allowed, -1.0)
        drawn = keys.topk(count, dim=1)
        return drawn.indices, drawn.values >= 0

    @torch.no_grad()
    def update(self, index: Tensor, vectors: Tensor) -> None:
        """Rows `index` (B,) become momentum * row + (1 - momentum) * vector, at length 1; vectors (B, width).

        The buffer is replaced, not changed: a loss of this step may still need the rows of before.
        """
        moved = self.momentum * self.rows[index] + (1 - self.momentum) * vectors.to(self.rows.dtype)
        self.rows = self.rows.index_copy(0, index, F.normalize(moved, dim=1))
        self.written = self.written.index_fill(0, index, True)
