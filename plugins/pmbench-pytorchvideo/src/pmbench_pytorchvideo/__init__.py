"""Networks of PyTorchVideo as backbones for clips: I3D, Slow, R(2+1)D of 50 layers, and X3D."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

import pmbench as pm

if TYPE_CHECKING:
    from torch import nn

ADDRESS = "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/"
NETWORKS = {
    "i3d_r50": (64, "I3D_8x8_R50", "I3D on ResNet-50, 3x1x1 convolutions in every other unit"),
    "slow_r50": (64, "SLOW_8x8_R50", "The slow pathway of SlowFast on ResNet-50, time kept at full length"),
    "r2plus1d_r50": (64, "R2PLUS1D_16x4_R50", "R(2+1)D on ResNet-50"),
    "x3d_xs": (24, "X3D_XS", "X3D of depth 2.2; weights are those for 4 frames of 160 pixels"),
    "x3d_s": (24, "X3D_S", "X3D of depth 2.2; weights are those for 13 frames of 160 pixels"),
    "x3d_m": (24, "X3D_M", "X3D of depth 2.2; weights are those for 16 frames of 224 pixels"),
    "x3d_l": (24, "X3D_L", "X3D of depth 5; weights are those for 16 frames of 312 pixels"),
}
"""Width of the stem, file for Kinetics-400, and summary."""
NARROW = {name: {"w8": 8} for name in ("i3d_r50", "slow_r50", "r2plus1d_r50", "x3d_m")}
"""Widths for tests and small data; X3D of depth 2.2 is one network under three names."""


def _build(name: str, modality: pm.Modality, size: int) -> pm.Encoder:
    from .networks import encoder, library

    return encoder(library(name, modality.channels, size))


def _tail(name: str, kind: str, size: int, start: int, channels: int) -> pm.Encoder:
    from .networks import encoder, library

    return pm.tail_of(encoder(library(name, 3, size)), start, channels)


def _shared(name: str) -> tuple[nn.Module, nn.Module]:
    from .networks import encoder, library

    whole = library(name, 3, NETWORKS[name][0])
    return whole, encoder(whole)


def _backbones(name: str) -> tuple[pm.Backbone, ...]:
    """At its own width, and where there is one at a narrow width: `<name>-w8`."""
    width, file, summary = NETWORKS[name]
    kinetics = pm.Pretrained({"kinetics400": f"{ADDRESS}{file}.pyth"}, pm.renamed(partial(_shared, name)))

    def build(modality: pm.Modality, size: int) -> pm.Encoder:
        return _build(name, modality, size)

    build.__doc__ = summary
    made = pm.backbone(
        name,
        kinds=("clip",),
        provides=("pooled", "maps") if name.startswith("x3d") else ("pooled", "maps", "mean"),
        sizes={"": width, **NARROW.get(name, {})},
        tail=partial(_tail, name),
        fuse_at=2,
        pretrained={"": kinetics},
        libraries=("fvcore", "pytorchvideo"),
    )
    return made(build)


BACKBONES = tuple(backbone for name in NETWORKS for backbone in _backbones(name))


@pm.hookimpl
def pmbench_backbones() -> Iterable[pm.Backbone]:
    return BACKBONES
