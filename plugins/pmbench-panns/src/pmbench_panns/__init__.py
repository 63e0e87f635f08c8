"""CNN14 of PANNs as a backbone for log-mel spectrograms, as images or as sequences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pmbench as pm

if TYPE_CHECKING:
    from torch import Tensor

    from .networks import CNN14

ADDRESS = "https://zenodo.org/record/3987831/files/"
SIZES = {"": 64, "w8": 8}


def _convert(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    from .networks import from_panns

    return from_panns(tensors)


def _audioset(file: str) -> dict[str, pm.Pretrained]:
    return {"": pm.Pretrained({"audioset": f"{ADDRESS}{file}?download=1"}, _convert, "stem.norm.running_")}


def _tail(features: int) -> Callable[[str, int, int, int], pm.Encoder]:
    def tail(kind: str, size: int, start: int, channels: int) -> pm.Encoder:
        from .networks import CNN14

        image = kind == "image"
        shape = (1, 64, 64) if image else (64, 64)
        return pm.tail_of(CNN14(pm.Modality("seen", kind, shape, "1"), size, features), start, channels)

    return tail


@pm.backbone(
    "cnn14",
    kinds=("image",),
    provides=("pooled", "maps"),
    sizes=SIZES,
    tail=_tail(32),
    fuse_at=2,
    pretrained=_audioset("Cnn14_mAP%3D0.431.pth"),
)
def cnn14(modality: pm.Modality, size: int) -> CNN14:
    """CNN14 of PANNs on log-mel spectrograms (1, mel, time): six blocks, 2,048 pooled features"""
    from .networks import CNN14

    return CNN14(modality, size, 32)


@pm.backbone(
    "cnn14_emb512",
    kinds=("image",),
    provides=("pooled", "maps"),
    sizes=SIZES,
    tail=_tail(8),
    fuse_at=2,
    pretrained=_audioset("Cnn14_emb512_mAP%3D0.420.pth"),
)
def cnn14_emb512(modality: pm.Modality, size: int) -> CNN14:
    """CNN14 of PANNs on log-mel spectrograms (1, mel, time) with 512 pooled features"""
    from .networks import CNN14

    return CNN14(modality, size, 8)


@pm.backbone(
    "cnn14_1d",
    kinds=("sequence",),
    provides=("pooled", "maps"),
    sizes={"": 64, "w8": 8},
    tail=_tail(8),
    fuse_at=2,
)
def cnn14_1d(modality: pm.Modality, size: int) -> CNN14:
    """CNN14 along time, mel bands as channels (mel, time): six blocks, 512 pooled features"""
    from .networks import CNN14

    return CNN14(modality, size, 8)


@pm.hookimpl
def pmbench_backbones() -> tuple[pm.Backbone, ...]:
    return (*cnn14, *cnn14_emb512, *cnn14_1d)
