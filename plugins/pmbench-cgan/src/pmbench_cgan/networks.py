"""Networks of cgan: generator of features, conditional discriminator, and a classifier on features."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pmbench as pm


class Generator(nn.Module):
    """G(z, x_t): encoder, dropout as z, linear layer to k with ReLU; batch -> F_G (B, k), the encoder's maps.

    The dropout is called in training alone, since a sealed program has no random numbers.
    """

    def __init__(self, fed: str, encoder: pm.Encoder, width: int, noise: float) -> None:
        super().__init__()
        self.fed, self.encoder, self.noise = fed, encoder, noise
        self.bottleneck = nn.Sequential(nn.Linear(encoder.features, width), nn.ReLU())

    def forward(self, batch: pm.Batch) -> tuple[Tensor, tuple[Tensor, ...]]:
        maps, pooled = self.encoder(batch[self.fed])
        if self.training and self.noise:
            pooled = F.dropout(pooled, self.noise)
        return self.bottleneck(pooled), maps


class Discriminator(nn.Module):
    """D(x_t, F): own encoder of x_t -> k, joined by F (k) -> 64 -> the logit of "F is privileged"."""

    def __init__(self, fed: str, encoder: pm.Encoder, width: int) -> None:
        super().__init__()
        self.fed, self.encoder = fed, encoder
        self.condition = nn.Sequential(nn.Linear(encoder.features, width), nn.LeakyReLU(0.2))
        self.joint = nn.Sequential(nn.Linear(2 * width, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))

    def seen(self, batch: pm.Batch) -> Tensor:
        """The condition: features (B, k) of x_t."""
        return self.condition(self.encoder(batch[self.fed])[1])

    def forward(self, seen: Tensor, features: Tensor) -> Tensor:
        """Logits (n,) for the condition and F, (n, k) each."""
        return self.joint(torch.cat([seen, features], 1)).squeeze(1)


class Scored(nn.Module):
    """A generator and a classifier on its features: batch -> Output."""

    def __init__(self, generator: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.generator, self.head = generator, head

    def forward(self, batch: pm.Batch) -> pm.Output:
        features, maps = self.generator(batch)
        return pm.Output(self.head(features), features, maps)
