"""The reference backbone of the paper's face experiments, at several widths."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pmbench as pm

if TYPE_CHECKING:
    from .surf import SurfResNet18


def _tail(kind: str, size: int, start: int, channels: int) -> SurfResNet18:
    from .surf import SurfResNet18

    return SurfResNet18(channels, size, start=start)


@pm.backbone(
    "surf_resnet18",
    kinds=("image",),
    provides=("pooled", "maps", "mean"),
    sizes={"8": 8, "16": 16, "32": 32, "64": 64},
    tail=_tail,
    fuse_at=2,
)
def surf_resnet18(modality: pm.Modality, size: int) -> SurfResNet18:
    """ResNet-18 with a 3x3 stem and channel attention behind layer 2, as on CASIA-SURF; fusion behind that"""
    from .surf import SurfResNet18

    return SurfResNet18(modality.channels, size)
