"""Modality hallucination: a network on the target modality imitates the privileged one's features."""

from __future__ import annotations

from typing import Literal

import pmbench as pm

from .hoffman import LAMBDA, Hallucinate


@pm.method(
    "hoffman",
    paper="Hoffman, Gupta, Darrell, CVPR 2016, doi:10.1109/CVPR.2016.96",
    networks=2,
    deviations=(
        "classification instead of detection: one cross-entropy where the paper has a class and a box term",
        "four cross-entropies; the privileged network is finished and frozen (`train_privileged` trains it)",
        "last map in place of pool5, mean over its elements times 10",
    ),
)
def hoffman(
    setting: pm.Setting,
    *,
    loss: Literal["eq3", "eq5", "eq7"] = "eq3",
    layer: Literal["auto", "map", "pooled"] = "auto",
    reduction: Literal["mean", "sse"] = "mean",
    weight: float | None = None,
    alpha: float = 0.5,
    imitation: float = 0.5,
    temperature: float = 10.0,
    student_temperature: float = 10.0,
    train_privileged: bool = False,
) -> pm.Stage:
    """Target network and a hallucination network that imitates privileged features; mean of their logits

    `loss`: what ties the hallucination network to the privileged one: features (eq3), softened logits
    (eq5), both (eq7). `weight` of the feature loss: 10 for its mean, 0.01 for its sum. `layer` "auto": maps
    where both can be compared position by position, else pooled vectors.
    """
    t, p = setting.only_target(), setting.only_privileged()
    if train_privileged and "unpaired" in setting.demands:
        raise pm.Unsupported(
            "cannot train the privileged network further where samples lack its modality",
            "leave train_privileged at false",
        )
    return Hallucinate(
        pm.Stream(t),
        pm.Stream(p),
        loss,
        _layer(setting, layer),
        reduction,
        LAMBDA[reduction] if weight is None else weight,
        alpha,
        imitation,
        temperature,
        student_temperature,
        train_privileged,
    )


def _layer(setting: pm.Setting, layer: str) -> str:
    """What is compared, "map" or "pooled"; raises Unsupported where maps are asked for in vain."""
    if layer == "pooled":
        return layer
    try:
        _require_comparable_maps(setting, setting.only_target(), setting.only_privileged())
    except pm.Unsupported:
        if layer == "map":
            raise
        return "pooled"
    return "map"


def _require_comparable_maps(setting: pm.Setting, t: str, p: str) -> None:
    setting.require_maps(p)
    setting.require_aligned(t, p)
    a, b = setting.modalities[t], setting.modalities[p]
    if not setting.backbones[p].accepts(a) or a.shape[1:] != b.shape[1:]:
        raise pm.Unsupported(
            f"compares maps of one shape, but {t!r} is {a.kind} {a.shape} and {p!r} is {b.kind} {b.shape}",
            "layer=pooled compares pooled vectors",
        )
