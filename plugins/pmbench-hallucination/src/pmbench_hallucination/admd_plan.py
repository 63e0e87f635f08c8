"""Adversarial discriminative modality distillation: h deceives a discriminator that knows the classes."""

from __future__ import annotations

from typing import Literal

import pmbench as pm

from .admd import Deceive, Hallucination, NarrowStream

TABLE = ("Garcia et al., TPAMI 2019 (ADMD, slides)", "slide Table 4 (ADMD)")


@pm.method(
    "admd",
    paper="Garcia, Morerio, Murino, IEEE TPAMI 2019, arXiv:1810.08437",
    networks=2,
    deviations=(
        "no batch norm in the discriminator and its bottleneck, which the authors' code has by its defaults",
        "the standard recipe for h; Adam at 1e-3 for the discriminator alone",
        "a bottleneck no wider than the pooled features",
    ),
    ablations={
        "hallucination stream alone": pm.Ablation({"stream": "hall"}, (*TABLE, "row24:hall_stream_alone")),
        "two streams": pm.Ablation({"stream": "two"}, (*TABLE, "row25:two_stream_rgb+hall")),
        "without classes (standard adversarial game)": pm.Ablation({"adversary": "lsgan"}),
        "without classes, hallucination stream alone": pm.Ablation({"adversary": "lsgan", "stream": "hall"}),
        "discriminator of the object experiments": pm.Ablation({"discriminator": "objects"}),
    },
)
def admd(
    setting: pm.Setting,
    *,
    stream: Literal["two", "hall"] = "two",
    adversary: Literal["classes", "lsgan"] = "classes",
    discriminator: Literal["action", "objects"] = "action",
    bottleneck: int = 128,
) -> pm.Stage:
    """Target stream and a hallucination network that deceives a discriminator of privileged features

    `stream`: mean of the logits of target stream and hallucination network ("two"), or the latter alone.
    `adversary`: "classes" has a class for each label and one for fakes; "lsgan" tells real from fake and
    no more. `bottleneck`: width of what is compared, at most that of the pooled features.
    """
    t, p = setting.only_target(), setting.only_privileged()
    if bottleneck < 1:
        raise pm.UsageError(f"bottleneck {bottleneck}: expected a width of 1 or more")
    deceived = Deceive(NarrowStream(p, bottleneck), t, adversary, discriminator)
    return Hallucination(deceived, pm.Stream(t) if stream == "two" else None)
