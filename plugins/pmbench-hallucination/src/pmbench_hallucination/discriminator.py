"""Networks of admd: two discriminators of bottleneck vectors, and h together with its discriminator."""

from __future__ import annotations

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
