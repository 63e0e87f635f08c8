"""Small backbones that train in seconds on a CPU: `cnn1d`, `cnn2d`, `cnn3d`, `mlp`, at several widths."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pmbench as pm

if TYPE_CHECKING:
    from .networks import CNN, Perceptron

WIDTHS = {"8": 8, "16": 16, "32": 32, "64": 64}


def _cnn_tail(kind: str, size: int, start: int, channels: int) -> CNN:
    from .networks import CNN

    return CNN(kind, channels, size, start=start)


@pm.backbone(
    "cnn1d", kinds=("sequence",), provides=("pooled", "maps", "mean"), sizes=WIDTHS, tail=_cnn_tail, fuse_at=1
)
def cnn1d(modality: pm.Modality, size: int) -> CNN:
    """Three blocks (convolution of 5, batch norm, ReLU, max pool by 2): w, 2w, 4w channels; mean over time"""
    from .networks import CNN

    return CNN(modality.kind, modality.channels, size)


@pm.backbone(
    "cnn2d", kinds=("image",), provides=("pooled", "maps", "mean"), sizes=WIDTHS, tail=_cnn_tail, fuse_at=1
)
def cnn2d(modality: pm.Modality, size: int) -> CNN:
    """Three blocks (3x3 convolution, batch norm, ReLU, max pool by 2) of w, 2w, 4w channels, mean over the
    grid
    """
    from .networks import CNN

    return CNN(modality.kind, modality.channels, size)


@pm.backbone(
    "cnn3d", kinds=("clip",), provides=("pooled", "maps", "mean"), sizes=WIDTHS, tail=_cnn_tail, fuse_at=1
)
def cnn3d(modality: pm.Modality, size: int) -> CNN:
    """Three blocks (3x3x3 convolution, batch norm, ReLU, max pool by 2 in space) of w, 2w, 4w channels, mean
    over time and grid
    """
    from .networks import CNN

    return CNN(modality.kind, modality.channels, size)


@pm.backbone("mlp", kinds=("vector", "sequence", "image"), provides=("pooled",), sizes=WIDTHS | {"0": 0})
def mlp(modality: pm.Modality, size: int) -> Perceptron:
    """Two layers of w units with ReLU on the flattened input; mlp-0 has none, so that the head alone is
    linear
    """
    from .networks import Perceptron

    return Perceptron(modality.shape, size)


BACKBONES = (*cnn1d, *cnn2d, *cnn3d, *mlp)
