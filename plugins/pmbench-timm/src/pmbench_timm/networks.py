"""A model of timm taken apart into stem, stages and pooling."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

import pmbench as pm

STAGES = 4
"""Maps that an encoder gives: those of the last stages."""


class Framewise(nn.Module):
    """An image network: (B, C, H, W) -> (B, C', h, w), or every frame of (B, C, T, H, W) -> (B, C', T, h, w).

    Images and clips have one set of names, so that weights fit both.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 4:
            return self.network(x)
        folded = self.network(x.movedim(2, 1).flatten(0, 1))  # (B*T, ...)
        return folded.unflatten(0, (-1, x.shape[2])).movedim(1, 2)


class FramewisePool(Framewise):
    """(B, C, h, w) -> (B, D); the mean over frames of (B, C, T, h, w) -> (B, D, T)."""

    def forward(self, x: Tensor) -> Tensor:
        pooled = super().forward(x)
        return pooled.mean(2) if x.dim() == 5 else pooled


class TimmEncoder(pm.Encoder):
    """The model for one modality; without `chained` in one piece, which gives no maps.

    Images (B, C, H, W) -> maps (B, C_l, h, w), pooled (B, D), the features before the classifier. Clips (B,
    C, T, H, W) -> maps (B, C_l, T, h, w) of every frame, pooled (B, D), the mean over frames.
    """

    def __init__(self, model: nn.Module, modality: pm.Modality, chained: bool) -> None:
        stem, blocks, pool, maps = chain(model) if chained else (nn.Identity(), [], model, [])
        time = (1,) if modality.kind == "clip" else ()
        super().__init__(
            Framewise(stem),
            [Framewise(block) for block in blocks],
            FramewisePool(pool),
            [pm.MapInfo(m.channels, (*time, *m.stride)) for m in maps],
            getattr(model, "head_hidden_size", None) or model.num_features,
        )


def chain(model: nn.Module) -> tuple[nn.Module, list[nn.Module], nn.Module, list[pm.MapInfo]]:
    """Stem, stages, pooling with what stands before it, and the stages' maps, as timm lists them."""
    listed = list(getattr(model.feature_info, "info", model.feature_info))[-STAGES:]
    ends = [info["module"] for info in listed]
    parts = list(_parts(model, "", ends))
    names = [name for name, _ in parts]
    first, *_ = cuts = [names.index(end) for end in ends]
    modules = [module for _, module in parts]
    stem = _joined(modules[:first])
    blocks = [
        _joined(modules[a:b])
        for a, b in zip([first, *(c + 1 for c in cuts)], [c + 1 for c in cuts], strict=False)
    ]
    maps = [pm.MapInfo(info["num_chs"], (info["reduction"],) * 2) for info in listed]
    return stem, blocks, _joined(modules[cuts[-1] + 1 :]), maps


def _joined(modules: list[nn.Module]) -> nn.Module:
    return modules[0] if len(modules) == 1 else nn.Sequential(*modules)


def _parts(module: nn.Module, prefix: str, ends: list[str]) -> Iterator[tuple[str, nn.Module]]:
    """Children in order; one that has stages inside is taken apart in turn."""
    for name, child in module.named_children():
        if any(end.startswith(f"{prefix}{name}.") for end in ends):
            yield from _parts(child, f"{prefix}{name}.", ends)
        else:
            yield prefix + name, child
