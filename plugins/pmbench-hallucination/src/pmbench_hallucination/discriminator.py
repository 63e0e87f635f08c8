"""Networks of admd: discriminators of bottleneck vectors, vectors by frame, and h with its discriminator."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import pmbench as pm

WIDTHS = (1024, 1024, 1024, 2048, 3076)
"""Layers of the discriminator for objects (github.com/ncgarcia/admd); the second and third are residual."""


class Discriminator(nn.Module):
    """Bottleneck vectors (B, k) -> logits (B, outputs).

    `form` "action": layers of 256 and 128 with leaky ReLU 0.2; "objects": five layers with ReLU, two of them
    residual. No batch norm.
    """

    def __init__(self, width: int, outputs: int, form: str = "action") -> None:
        super().__init__()
        self.layers = (_action if form == "action" else _objects)(width, outputs)

    def forward(self, v: Tensor) -> Tensor:
        return self.layers(v)


def _action(width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, 256),
        nn.LeakyReLU(0.2),
        nn.Linear(256, 128),
        nn.LeakyReLU(0.2),
        nn.Linear(128, outputs),
    )


def _objects(width: int, outputs: int) -> nn.Sequential:
    first, second, third, fourth, fifth = WIDTHS
    return nn.Sequential(
        nn.Linear(width, first), nn.ReLU(), _Residual(second), _Residual(third),
        nn.Linear(third, fourth), nn.ReLU(), nn.Linear(fourth, fifth), nn.ReLU(), nn.Linear(fifth, outputs),
    )  # fmt: skip


class _Residual(nn.Linear):
    """(n, width) -> relu(W x + b + x)."""

    def __init__(self, width: int) -> None:
        super().__init__(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return (super().forward(x) + x).relu()


class Judged(nn.Module):
    """A hallucination network and the discriminator it was trained against: batch -> Output of the former."""

    def __init__(self, hallucination: nn.Module, discriminator: nn.Module) -> None:
        super().__init__()
        self.hallucination = hallucination
        self.discriminator = discriminator

    def forward(self, batch: pm.Batch) -> pm.Output:
        return self.hallucination(batch)


class FramePool(nn.Module):
    """The last map of a clip (B, C, T, *grid) -> the mean of each frame (B, T, C)."""

    def forward(self, last: Tensor) -> Tensor:
        return last.flatten(3).mean(3).transpose(1, 2)


class FrameNeck(nn.Module):
    """A bottleneck on each frame: (B, T, C) -> the mean over frames (B, k).

    A linear head on it gives the mean of the frames' logits.
    """

    def __init__(self, neck: nn.Module) -> None:
        super().__init__()
        self.neck = neck

    def forward(self, frames: Tensor) -> Tensor:
        return self.neck(frames).mean(1)


def by_frames(network: pm.Classifier) -> None:
    """Puts the bottleneck of a classifier on each frame of clips; its encoder pools by the mean of a map."""
    if network.bottleneck is None:
        raise pm.ContractError("a classifier without a bottleneck has no vectors by frame")
    network.encoder.pool = FramePool()
    network.bottleneck = FrameNeck(network.bottleneck)


def vectors(network: pm.Classifier, output: pm.Output) -> Tensor:
    """What the discriminator is shown: v (B, k); of a network by frames (B T, T + k), position and vector."""
    if not isinstance(network.bottleneck, FrameNeck):
        return output.pooled
    v = network.bottleneck.neck(FramePool()(output.maps[-1]))
    position = torch.eye(v.shape[1], dtype=v.dtype, device=v.device).expand(len(v), -1, -1)
    return torch.cat([position, v], 2).flatten(0, 1)
