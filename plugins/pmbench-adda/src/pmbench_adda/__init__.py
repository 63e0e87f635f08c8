"""ADDA: a student whose features a discriminator cannot tell from those of a privileged teacher."""

from __future__ import annotations

from collections.abc import Iterable

import pmbench as pm

from .stages import Adda, AddaOptions


@pm.method(
    "adda",
    paper="Tzeng et al., arXiv:1702.05464, as the ADDA row of Wei, Luo, Luo, IEEE TMM 2024",
    teachers=pm.TEACHERS,
    deviations=(
        "labels and discriminator move the student at once; the paper adapts without labels",
        "the student starts afresh, not from the teacher's weights: it sees another modality",
        "weight 1 of the adversarial term: the comparison prints none",
    ),
    ablations={
        "L_CE + L_GAN": pm.Ablation(
            {"teacher": "fused"}, ("MMH", "Table VII", "L_CE+L_GAN_from_multimodal_teacher")
        )
    },
    search={"weight": "log [0.01, 10]"},
)
def adda(setting: pm.Setting, options: AddaOptions) -> pm.Stage:
    """Student whose features a discriminator cannot tell from those of the privileged network"""
    return Adda(pm.teacher_of(setting, options.teacher), setting.target, options)


@pm.hookimpl
def pmbench_methods() -> Iterable[pm.Method]:
    return (adda,)
