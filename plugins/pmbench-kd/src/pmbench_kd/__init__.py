"""Knowledge distillation from a privileged teacher: Hinton's, generalized distillation, pseudo-labels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import pmbench as pm

from .stages import GenDistillOptions, Imitate

Teacher = Literal["fused", "privileged"]
TEACHER = "the teacher sees all modalities, or the privileged ones alone"


@dataclass(frozen=True)
class KdOptions(pm.DistillOptions):
    teacher: Teacher = pm.option("fused", TEACHER)


@pm.method(
    "kd",
    paper="arXiv:1503.02531",
    teachers=pm.TEACHERS,
    search={"temperature": (1.0, 2.0, 4.0, 8.0), "imitation": "[0.1, 0.9]"},
)
def kd(setting: pm.Setting, options: KdOptions) -> pm.Stage:
    """Student matches the softened logits of a teacher that sees the privileged modalities"""
    return pm.Distill(pm.teacher_of(setting, options.teacher), setting.target, options)


@dataclass(frozen=True)
class GenDistillPlan(GenDistillOptions):
    teacher: Teacher = pm.option("privileged", TEACHER)


@pm.method(
    "gen_distill",
    paper="arXiv:1511.03643",
    teachers=pm.TEACHERS,
    deviations=("T = 2 and l = 0.5 are fixed, where the paper searches both for every data set",),
    search={"temperature": (1.0, 2.0, 5.0, 10.0), "imitation": "[0.1, 1]"},
)
def gen_distill(setting: pm.Setting, options: GenDistillPlan) -> pm.Stage:
    """Generalized distillation: the teacher sees privileged modalities alone, only its logits are softened"""
    return Imitate(pm.teacher_of(setting, options.teacher), setting.target, options)


@dataclass(frozen=True)
class PseudoLabelOptions(pm.PseudoLabelOptions):
    teacher: Teacher = pm.option("fused", TEACHER)


@pm.method(
    "pseudo_label",
    paper="Lee, ICML workshops 2013 (pseudo-label), with a teacher that sees privileged modalities",
    teachers=pm.TEACHERS,
    deviations=("the labels come from a finished privileged teacher, not from the student itself",),
    search={"labels": ("hard", "soft"), "threshold": (None, 0.5, 0.8, 0.95)},
)
def pseudo_label(setting: pm.Setting, options: PseudoLabelOptions) -> pm.Stage:
    """A privileged teacher labels the samples that have no label; the student trains on both

    Needs a few-K protocol.
    """
    if "unlabelled" not in setting.demands:
        raise pm.Unsupported(
            "needs training samples without label, and under this protocol every sample has one",
            "choose a few-K protocol",
        )
    return pm.PseudoLabel(pm.teacher_of(setting, options.teacher), setting.target, options)


@pm.hookimpl
def pmbench_methods() -> Iterable[pm.Method]:
    return (kd, gen_distill, pseudo_label)
