"""The discriminator."""

from __future__ import annotations

from torch import Tensor, nn


class Discriminator(nn.Module):
    """Two hidden layers with ReLU: features (n, D) -> logits (n,) of "the teacher's"."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(features, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).squeeze(1)
