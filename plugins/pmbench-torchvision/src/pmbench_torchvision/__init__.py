"""The video networks of torchvision as backbones for clips."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

import pmbench as pm

if TYPE_CHECKING:
    from torch import nn

    from .networks import VideoEncoder

ADDRESS = "https://download.pytorch.org/models/"
KINETICS = {"r2plus1d_18": "91a641e6", "r3d_18": "b3b3357e", "mc3_18": "a90a0ba3"}
"""First digits of the SHA-256 of the files for Kinetics-400."""


def _tail(name: str, kind: str, size: int, start: int, channels: int) -> pm.Encoder:
    from .networks import VideoEncoder, library

    return pm.tail_of(VideoEncoder(library(name), 3), start, channels)


def _encoder(name: str, modality: pm.Modality) -> VideoEncoder:
    from .networks import VideoEncoder, library

    return VideoEncoder(library(name), modality.channels)


def _shared(name: str) -> tuple[nn.Module, nn.Module]:
    from .networks import VideoEncoder, library

    whole = library(name)
    return whole, VideoEncoder(whole, 3)


def _kinetics(name: str) -> dict[str, pm.Pretrained]:
    url = f"{ADDRESS}{name}-{KINETICS[name]}.pth"
    return {"": pm.Pretrained({"kinetics400": url}, pm.renamed(partial(_shared, name), heads=("fc",)))}


@pm.backbone(
    "r2plus1d_18",
    kinds=("clip",),
    provides=("pooled", "maps", "mean"),
    sizes={"": 64},
    tail=partial(_tail, "r2plus1d_18"),
    fuse_at=2,
    pretrained=_kinetics("r2plus1d_18"),
    libraries=("torchvision",),
)
def r2plus1d_18(modality: pm.Modality, size: int) -> VideoEncoder:
    """R(2+1)D of 18 layers: every 3-D convolution in space, then in time"""
    return _encoder("r2plus1d_18", modality)


@pm.backbone(
    "r2plus1d_10",
    kinds=("clip",),
    provides=("pooled", "maps", "mean"),
    sizes={"": 64},
    tail=partial(_tail, "r2plus1d_10"),
    fuse_at=2,
    libraries=("torchvision",),
)
def r2plus1d_10(modality: pm.Modality, size: int) -> VideoEncoder:
    """R(2+1)D with one residual block a layer, as compositional contrastive learning has it"""
    return _encoder("r2plus1d_10", modality)


@pm.backbone(
    "r3d_18",
    kinds=("clip",),
    provides=("pooled", "maps", "mean"),
    sizes={"": 64},
    tail=partial(_tail, "r3d_18"),
    fuse_at=2,
    pretrained=_kinetics("r3d_18"),
    libraries=("torchvision",),
)
def r3d_18(modality: pm.Modality, size: int) -> VideoEncoder:
    """ResNet-18 with 3-D convolutions"""
    return _encoder("r3d_18", modality)


@pm.backbone(
    "mc3_18",
    kinds=("clip",),
    provides=("pooled", "maps", "mean"),
    sizes={"": 64},
    tail=partial(_tail, "mc3_18"),
    fuse_at=2,
    pretrained=_kinetics("mc3_18"),
    libraries=("torchvision",),
)
def mc3_18(modality: pm.Modality, size: int) -> VideoEncoder:
    """ResNet-18 with 3-D convolutions in its first layer and 2-D ones behind"""
    return _encoder("mc3_18", modality)


@pm.hookimpl
def pmbench_backbones() -> Iterable[pm.Backbone]:
    return (*r2plus1d_18, *r2plus1d_10, *r3d_18, *mc3_18)
