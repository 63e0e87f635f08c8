"""Every image model of timm as a backbone: `timm/` and its name."""

from __future__ import annotations

from collections.abc import Iterable

import pmbench as pm


def _make(model: str) -> pm.Backbone:
    from .models import backbone_of

    return backbone_of(model)


timm = pm.BackboneFamily(
    "timm/",
    frozenset({"image", "clip"}),
    frozenset({"pooled", "maps"}),
    "An image model of timm, as timm/resnet18: on clips frame by frame, then the mean over time",
    _make,
)


@pm.hookimpl
def pmbench_backbones() -> Iterable[pm.BackboneFamily]:
    return (timm,)
