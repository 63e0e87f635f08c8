"""Distillation of the features that both modalities see: the modality focusing hypothesis."""

from __future__ import annotations

from collections.abc import Iterable

import pmbench as pm

from .stages import Imitate, Joint, MfhOptions, Rate


@pm.method(
    "mfh_kd",
    paper="Xue, Gao, Ren, Zhao, ICLR 2023, arXiv:2206.06487",
    teachers="own",
    deviations=(
        "pooled features, of which the head is a linear function",
        "batches of the recipe's size are permuted; the paper has 512 samples",
        "left-out features are their mean over the training samples, not over the batch",
        "the student's loss is that of `kd`; the paper's on RAVDESS is the divergence alone, T = 1",
    ),
    ablations={
        "features of the privileged modality alone": pm.Ablation({"mode": "specific"}),
        "features drawn at random": pm.Ablation({"mode": "random"}),
        "all features": pm.Ablation({"mode": "none"}),
    },
    search={"agreement": "log [0.1, 10]", "share": (0.25, 0.5, 0.75, 0.9), "imitation": "[0.1, 0.9]"},
)
def mfh_kd(setting: pm.Setting, options: MfhOptions) -> pm.Stage:
    """Student taught by a privileged network that keeps the features which the target shows, too"""
    if not setting.privileged:
        raise pm.Unsupported("needs a privileged modality, this setting has none")
    joint = Joint(setting.target, setting.privileged, options)
    return Imitate(Rate(joint, options), setting.target, options)


@pm.hookimpl
def pmbench_methods() -> Iterable[pm.Method]:
    return (mfh_kd,)
