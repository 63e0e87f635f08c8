"""DMCL: networks of all modalities trained at once; for each sample the best of them teaches the others."""

from __future__ import annotations

from collections.abc import Iterable

import pmbench as pm

from .stages import Dmcl, DmclOptions


@pm.method(
    "dmcl",
    paper="Garcia, Bargal, Ablavsky, Morerio, Murino, Sclaroff, arXiv:1912.10982 (DMCL)",
    teachers="own",
    deviations=(
        "the standard recipe; the authors' code has momentum SGD over 220 epochs",
        "one clip or sample at test as the protocol says, where the authors average ten",
    ),
    ablations={
        "losers without labels": pm.Ablation({"labels": 0.0}),
        "losers without distillation": pm.Ablation({"soft": 0.0}),
    },
    search={"labels": "log [0.1, 10]", "soft": "log [0.1, 10]", "temperature": (1.0, 2.0, 4.0, 8.0)},
)
def dmcl(setting: pm.Setting, options: DmclOptions) -> pm.Stage:
    """Networks of all modalities, in which for each sample the best one teaches the others"""
    if not setting.privileged:
        raise pm.Unsupported("needs a privileged modality as a peer, this setting has none")
    return Dmcl(setting.only_target(), setting.privileged, options)


@pm.hookimpl
def pmbench_methods() -> Iterable[pm.Method]:
    return (dmcl,)
