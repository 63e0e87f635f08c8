"""ADDA: a student whose features a discriminator cannot tell from those of a privileged teacher."""

from __future__ import annotations

from collections.abc import Iterable

import pmbench as pm

from .stages import Adda, AddaOptions


@pm.method(
    "adda",
    paper="Tzeng et al., arXiv:1702.05464, as the ADDA row of Wei, Luo, Luo, IEEE TMM 2024",
    teachers={"fused": "early_fusion", "privileged": "privileged_only"},
    deviations=(
        "labels and discriminator move the student at once; the paper adapts without labels",
        "the student starts afresh, not from the teacher's weights: it sees another modality",
        "weight 1 of the adversarial term: the comparison prints none",
    ),
)
def adda(setting: pm.Setting, options: AddaOptions) -> pm.Stage:
    """Student whose features a discriminator cannot tell from those of the privileged network"""
    sees = setting.all if options.teacher == "fused" else setting.privileged
    if not setting.privileged:
        raise pm.Unsupported("needs a privileged modality to imitate, this setting has none")
    return Adda(pm.trained_on(*sees), setting.target, options)


@pm.hookimpl
def pmbench_methods() -> Iterable[pm.Method]:
    return (adda,)
