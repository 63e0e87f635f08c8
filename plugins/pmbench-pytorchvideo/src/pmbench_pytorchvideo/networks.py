"""PyTorchVideo's networks for any number of channels, taken apart into stem and stages.

Only the builders are imported: the library's transforms do not import with today's torchvision.
"""

from __future__ import annotations

import warnings

from torch import Tensor, nn

import pmbench as pm

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # it uses torch.jit on import
    from pytorchvideo.models.r2plus1d import create_r2plus1d
    from pytorchvideo.models.resnet import create_resnet
    from pytorchvideo.models.x3d import create_x3d

X3D_DEPTH = {"x3d_xs": 2.2, "x3d_s": 2.2, "x3d_m": 2.2, "x3d_l": 5.0}
I3D_KERNELS = (
    ((3, 1, 1),),
    ((3, 1, 1), (1, 1, 1)),
    ((3, 1, 1), (1, 1, 1)),
    ((1, 1, 1), (3, 1, 1)),
)
"""Kernels of the first convolution of a stage's units, in turn: those of the released I3D."""


def library(name: str, channels: int, width: int) -> nn.Module:
    """The network as the library builds it; width 64 (X3D: 24) is that of the released weights."""
    if name in X3D_DEPTH:
        return create_x3d(
            input_channel=channels,
            input_clip_length=16,
            input_crop_size=224,
            stem_dim_in=width // 2,
            depth_factor=X3D_DEPTH[name],
        )
    if name == "r2plus1d_r50":
        return create_r2plus1d(input_channel=channels, stem_dim_out=width, dropout_rate=0.5)
    if name == "slow_r50":
        return create_resnet(input_channel=channels, stem_dim_out=width, stem_conv_kernel_size=(1, 7, 7))
    return create_resnet(
        input_channel=channels,
        stem_dim_out=width,
        stem_conv_kernel_size=(5, 7, 7),
        stage1_pool=nn.MaxPool3d,
        stage_conv_a_kernel_size=[
            list(kernels) if len(kernels) > 1 else kernels[0] for kernels in I3D_KERNELS
        ],
    )


class _Mean(nn.Module):
    """(B, C, T, h, w) -> (B, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3, 4))


class _Pool(nn.Module):
    """(B, C, T, h, w) -> (B, D): X3D widens before and after the mean over time and grid."""

    def __init__(self, projected: nn.Module) -> None:
        super().__init__()
        self.before = nn.Sequential(projected.pre_conv, projected.pre_norm, projected.pre_act)
        self.after = nn.Sequential(projected.post_conv, projected.post_act)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.before(x).mean((2, 3, 4), keepdim=True)).flatten(1)


def encoder(whole: nn.Module) -> pm.Encoder:
    """Stem and four stages: (B, C, T, H, W) -> four maps, pooled (B, D).

    A pool that stands between two stages opens the later one.
    """
    stem, *stages, head = whole.blocks
    blocks: list[nn.Module] = []
    waiting: list[nn.Module] = []
    stride, maps = _stride(stem), []
    for stage in stages:
        stride = tuple(a * b for a, b in zip(stride, _stride(stage), strict=True))
        waiting.append(stage)
        if isinstance(stage, nn.MaxPool3d):
            continue
        blocks.append(waiting[0] if len(waiting) == 1 else nn.Sequential(*waiting))
        maps.append(pm.MapInfo(stage.res_blocks[-1].branch2.norm_c.num_features, stride))
        waiting = []
    projected = hasattr(head.pool, "pre_conv")
    pool = _Pool(head.pool) if projected else _Mean()
    return pm.Encoder(stem, blocks, pool, maps, head.proj.in_features)


def _stride(part: nn.Module) -> tuple[int, ...]:
    """How much a stem, a stage or a pool shrinks time, height, width: the product over its main path."""
    found = (1, 1, 1)
    for name, module in part.named_modules():
        if isinstance(module, nn.Conv3d | nn.MaxPool3d) and "branch1" not in name:
            step = module.stride if isinstance(module.stride, tuple | list) else (module.stride,) * 3
            found = tuple(a * b for a, b in zip(found, step, strict=True))
    return found
