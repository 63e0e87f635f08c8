"""ResNet-18 with squeeze and excitation behind its second layer."""

from __future__ import annotations

from torch import Tensor, nn

import pmbench as pm


class SqueezeExcite(nn.Module):
    """Channels weighted by sigmoid(W_2 relu(W_1 mean)), biases included: (B, C, H, W) -> the same shape.

    C / `reduction` hidden units, yet 8 at least: a single one can be dead from the start.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(channels // reduction, 8)
        self.down, self.up = nn.Linear(channels, hidden), nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.up(self.down(x.mean((2, 3))).relu()).sigmoid()
        return x * weights[:, :, None, None]


class Residual(nn.Module):
    """Two 3x3 convolutions with batch norm beside the identity, or beside a strided 1x1 convolution."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(before, after, 3, stride), nn.BatchNorm2d(after), nn.ReLU(inplace=True),
            _conv(after, after, 3, 1), nn.BatchNorm2d(after),
        )  # fmt: skip
        self.skip: nn.Module = nn.Identity()
        if stride > 1 or before != after:
            self.skip = nn.Sequential(_conv(before, after, 1, stride), nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        return (self.body(x) + self.skip(x)).relu()


class _GridMean(nn.Module):
    """(B, C, H, W) -> (B, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


class SurfResNet18(pm.Encoder):
    """Four layers of two residual blocks, w to 8 w channels, from layer `start` on; w = 64 is the reference.

    (B, C, H, W) -> maps of stride 4, 8, 16, 32 (w, 2w, 4w, 8w channels), pooled (B, 8w). The stem is a 3x3
    convolution of stride 2, batch norm, ReLU and a max pool of stride 2; squeeze and excitation (reduction
    16) ends the second layer. With w = 64, three channels and a head of two classes: 11,172,042 parameters.
    """

    def __init__(self, channels: int, width: int, *, start: int = 0) -> None:
        widths = [width, 2 * width, 4 * width, 8 * width]
        stem: nn.Module = nn.Identity()
        if start == 0:
            stem = nn.Sequential(
                _conv(channels, width, 3, 2), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
                nn.MaxPool2d(3, 2, padding=1),
            )  # fmt: skip
            channels = width
        blocks: list[nn.Module] = []
        strides: list[int] = []
        for layer, after in list(enumerate(widths))[start:]:
            stride = 1 if layer == 0 else 2
            parts: list[nn.Module] = [Residual(channels, after, stride), Residual(after, after, 1)]
            if layer == 1:
                parts.append(SqueezeExcite(after))
            blocks.append(nn.Sequential(*parts))
            strides.append((strides[-1] if strides else (4 if start == 0 else 1)) * stride)
            channels = after
        maps = [pm.MapInfo(w, (s, s)) for w, s in zip(widths[start:], strides, strict=True)]
        super().__init__(stem, blocks, _GridMean(), maps, widths[-1])


def _conv(before: int, after: int, kernel: int, stride: int) -> nn.Conv2d:
    conv = nn.Conv2d(before, after, kernel, stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv
