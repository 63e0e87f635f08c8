"""Networks of cgan: generator of features, conditional discriminator, and a classifier on features."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pmbench as pm

SLOPE = 0.2
HIDDEN = 64


class Generated(NamedTuple):
    """F_G (B, k), and the maps of the encoder behind it."""

    features: Tensor
    maps: tuple[Tensor, ...]


class Noise(nn.Module):
    """Dropout in training; in evaluation nothing at all, since a sealed program draws no random numbers."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.rate) if self.training and self.rate else x


class Generator(nn.Module):
    """G(z, x_t): encoder, dropout as z, linear layer to k with ReLU; batch -> Generated."""

    def __init__(self, fed: str, encoder: pm.Encoder, width: int, noise: float) -> None:
        super().__init__()
        self.fed = fed
        self.encoder = encoder
        self.noise = Noise(noise)
        self.bottleneck = nn.Sequential(nn.Linear(encoder.features, width), nn.ReLU())

    def forward(self, batch: pm.Batch) -> Generated:
        maps, pooled = self.encoder(batch[self.fed])
        return Generated(self.bottleneck(self.noise(pooled)), maps)


class Discriminator(nn.Module):
    """D(x_t, F): own encoder of x_t -> k, joined by F (k) -> 64 -> the logit of "F is privileged"."""

    def __init__(self, fed: str, encoder: pm.Encoder, width: int) -> None:
        super().__init__()
        self.fed = fed
        self.encoder = encoder
        self.condition = nn.Sequential(nn.Linear(encoder.features, width), nn.LeakyReLU(SLOPE))
        self.joint = nn.Sequential(nn.Linear(2 * width, HIDDEN), nn.LeakyReLU(SLOPE), nn.Linear(HIDDEN, 1))

    def seen(self, batch: pm.Batch) -> Tensor:
        """What it makes of x_t, (B, k)."""
        return self.condition(self.encoder(batch[self.fed])[1])

    def verdict(self, seen: Tensor, features: Tensor) -> Tensor:
        """Logits (n,) for `seen` and F, (n, k) each."""
        return self.joint(torch.cat([seen, features], 1)).squeeze(1)


class Scored(nn.Module):
    """A generator and a classifier on its features: batch -> Output."""

    def __init__(self, generator: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.generator = generator
        self.head = head

    def forward(self, batch: pm.Batch) -> pm.Output:
        features, maps = self.generator(batch)
        return pm.Output(self.head(features), features, maps)
