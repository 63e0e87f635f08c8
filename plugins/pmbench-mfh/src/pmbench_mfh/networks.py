"""Two networks trained together, the salience of one's features, and that network with some of them fixed."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

import pmbench as pm


class Pair(nn.Module):
    """A privileged network and its partner on the target: batch -> Output of the privileged network."""

    def __init__(self, teacher: nn.Module, partner: nn.Module) -> None:
        super().__init__()
        self.teacher, self.partner = teacher, partner

    def forward(self, batch: Mapping[str, Tensor]) -> pm.Output:
        return self.teacher(batch)


class Rated(nn.Module):
    """A finished network with salience and mean of its D pooled features: batch -> its Output.

    The buffers are sums over samples; `add` adds a batch.
    """

    def __init__(self, teacher: nn.Module) -> None:
        super().__init__()
        self.teacher = teacher
        for name in ("rated", "added"):
            self.register_buffer(name, torch.zeros(teacher.head.in_features))
        self.register_buffer("samples", torch.zeros(()))

    def forward(self, batch: Mapping[str, Tensor]) -> pm.Output:
        return self.teacher(batch)

    def add(self, pooled: Tensor, salience: Tensor) -> None:
        """pooled (n, D), salience (D,) of these samples."""
        self.rated += len(pooled) * salience
        self.added += pooled.sum(0)
        self.samples += len(pooled)

    @property
    def salience(self) -> Tensor:
        """(D,) in [0, 1], 1 for the feature on which both networks depend most."""
        lowest, highest = self.rated.min(), self.rated.max()
        return (self.rated - lowest) / (highest - lowest).clamp(min=1e-12)

    @property
    def mean(self) -> Tensor:
        """(D,), over the training samples."""
        return self.added / self.samples


class Focused(nn.Module):
    """A rated network some of whose features are their mean: batch -> Output.

    `mode`: the least salient features are fixed ("general"), the most salient ones ("specific"), some drawn
    at random ("random") or none ("none"); `share` of all, rounded down.
    """

    def __init__(self, rated: pm.Frozen, mode: str, share: float) -> None:
        super().__init__()
        self.rated = rated
        order = rated.salience.argsort(stable=True)
        if mode == "specific":
            order = order.flip(0)
        elif mode == "random":
            order = torch.randperm(len(order))
        fixed = torch.zeros(len(order), dtype=torch.bool)
        if mode != "none":
            fixed[order[: int(share * len(order))]] = True
        self.register_buffer("fixed", fixed)

    def forward(self, batch: Mapping[str, Tensor]) -> pm.Output:
        output = self.rated(batch)
        pooled = torch.where(self.fixed, self.rated.mean, output.pooled)
        return output._replace(logits=self.rated.teacher.head(pooled), pooled=pooled)
