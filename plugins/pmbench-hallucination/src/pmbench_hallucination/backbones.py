"""The paper's backbone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pmbench as pm

if TYPE_CHECKING:
    from torch import Tensor

    from .resnet import MdmsResNet50

IMAGENET = "https://download.pytorch.org/models/resnet50-0676ba61.pth"


def _tail(kind: str, size: int, start: int, channels: int) -> pm.Encoder:
    from .resnet import MdmsResNet50

    shape = (3, 5, 32, 32) if kind == "clip" else (3, 32, 32)
    return pm.tail_of(MdmsResNet50(pm.Modality("seen", kind, shape, "1"), size), start, channels)


def _convert(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    from .resnet import from_torchvision

    return from_torchvision(tensors)


@pm.backbone(
    "mdms_resnet50",
    kinds=("image", "clip"),
    provides=("pooled", "maps", "mean"),
    sizes={"": 64, "w8": 8},
    tail=_tail,
    fuse_at=2,
    pretrained={"": pm.Pretrained({"imagenet": IMAGENET}, _convert, fresh=".temporal.")},
)
def mdms_resnet50(modality: pm.Modality, size: int) -> MdmsResNet50:
    """ResNet-50 on frames, with convolutions over 3 frames in every stage, connected inside its stages"""
    from .resnet import MdmsResNet50

    return MdmsResNet50(modality, size)
