"""torchvision's video networks, taken apart into stem and layers."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models.video import mc3_18, r2plus1d_18, r3d_18
from torchvision.models.video.resnet import BasicBlock, Conv2Plus1D, R2Plus1dStem, VideoResNet

import pmbench as pm


def library(name: str) -> VideoResNet:
    """The randomly initialized network, for three channels and 400 classes."""
    if name == "r2plus1d_10":
        return VideoResNet(BasicBlock, [Conv2Plus1D] * 4, [1, 1, 1, 1], R2Plus1dStem)
    return {"r2plus1d_18": r2plus1d_18, "r3d_18": r3d_18, "mc3_18": mc3_18}[name]()


class _Mean(nn.Module):
    """(B, C, T, h, w) -> (B, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3, 4))


class VideoEncoder(pm.Encoder):
    """Stem and four layers: (B, C, T, H, W) -> maps of 64, 128, 256, 512 channels, pooled (B, 512).

    The stem halves the grid; every layer but the first halves it again, and time too where its convolutions
    look along time.
    """

    def __init__(self, whole: VideoResNet, channels: int) -> None:
        stem, layers = whole.stem, [whole.layer1, whole.layer2, whole.layer3, whole.layer4]
        if channels != 3:
            stem[0] = _for_channels(stem[0], channels)
        stride, maps = (1, 2, 2), []
        for layer in layers:
            short = layer[0].downsample
            step = short[0].stride if short is not None else (1, 1, 1)
            stride = tuple(a * b for a, b in zip(stride, step, strict=True))
            maps.append(pm.MapInfo(layer[-1].conv2[1].num_features, stride))
        super().__init__(stem, layers, _Mean(), maps, 512)


def _for_channels(conv: nn.Conv3d, channels: int) -> nn.Conv3d:
    fresh = nn.Conv3d(
        channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, bias=conv.bias is not None
    )
    nn.init.kaiming_normal_(fresh.weight, mode="fan_out", nonlinearity="relu")
    return fresh
