"""Multimodal hallucination: region-aware (RAD) and discrepancy-aware (DAD) distillation, and both."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import pmbench as pm

from .backbones import surf_resnet18
from .stages import Added, DadOptions, DiscrepancyAware, Joint, RadDadOptions, RadOptions, RegionAware
from .teacher import region_axes, require_joint_maps, teacher_of

TEACHERS = {"early": "early_fusion", "late": "late_fusion", "psmm": "own"}
Teacher = Literal["early", "late", "psmm"]
SEES = (
    "one network over all modalities, finished streams whose logits are averaged (rad only), or a partially "
    "shared network"
)
PAPER = "Wei, Luo, Luo: Privileged modality learning via multimodal hallucination, IEEE TMM 2024"

RECIPE = (
    "the harness's recipe in place of SGD at 1e-3 with warm-up and steps; no dropout on logits, with which "
    "the face networks of the released code end"
)
REGIONS = (
    "sequences have 4 + 2 + 1 regions in time; backbones without maps, and modalities that are not aligned, "
    "have one region, whose logits are the networks' own; where the student's last map is one position, all "
    "regions are one"
)
WEIGHTS = (
    "the attended divergences are averaged over the regions, as in the released code; eq. 6 prints their sum"
)
RELATIONS = (
    "mean of squared differences of eq. 14's matrices in place of their Frobenius norm, which form=cos_fro is"
)


@dataclass(frozen=True)
class RadPlan(RadOptions):
    teacher: Teacher = pm.option("early", SEES)


@dataclass(frozen=True)
class DadPlan(DadOptions):
    teacher: Teacher = pm.option("early", SEES)


@dataclass(frozen=True)
class RadDadPlan(RadDadOptions):
    teacher: Teacher = pm.option("early", SEES)


def _stages(options: Any) -> Any:
    """The options for the stages, which have a partially shared teacher as their parent alone."""
    return options.but(teacher="early") if options.teacher == "psmm" else options


@pm.method(
    "rad",
    paper=PAPER,
    teachers=TEACHERS,
    deviations=(RECIPE, REGIONS, WEIGHTS),
    ablations={
        "-IW": pm.Ablation({"weighting": "uniform"}, ("MMH", "Table VI", "no_IW")),
        "-IW-MKTP": pm.Ablation(
            {"weighting": "uniform", "scales": (4,)}, ("MMH", "Table VI", "no_IW_no_MKTP")
        ),
    },
    search={"alpha": "log [0.1, 2]", "temperature": (1.0, 2.0, 4.0, 8.0)},
)
def rad(setting: pm.Setting, options: RadPlan) -> pm.Stage:
    """Student agrees with a multimodal teacher on every region of a pyramid over the last feature map"""
    target, axes = setting.only_target(), region_axes(setting, options.teacher)
    return RegionAware(teacher_of(setting, options.teacher), (target,), _stages(options), axes)


@pm.method(
    "dad",
    paper=PAPER,
    teachers=TEACHERS,
    deviations=(RECIPE, RELATIONS),
    ablations={"L_CE": pm.Ablation({"beta": 0.0}, ("MMH", "Table VII", "L_CE"))},
    search={"beta": "log [1, 3000]"},
)
def dad(setting: pm.Setting, options: DadPlan) -> pm.Stage:
    """Student relates samples as the multimodal teacher does on the maps behind its fusion"""
    target = setting.only_target()
    require_joint_maps(setting, options.teacher)
    return DiscrepancyAware(teacher_of(setting, options.teacher), (target,), _stages(options))


@pm.method(
    "rad_dad",
    paper=PAPER,
    teachers=TEACHERS,
    networks=2,
    deviations=(RECIPE, REGIONS, WEIGHTS, RELATIONS),
    small={"alpha": 0.8, "temperature": 4.0, "beta": 1.0},
    search={"alpha": "log [0.1, 2]", "temperature": (1.0, 2.0, 4.0, 8.0), "beta": "log [1, 3000]"},
)
def rad_dad(setting: pm.Setting, options: RadDadPlan) -> pm.Stage:
    """The students of `rad` and `dad` side by side, their logits added; options as theirs"""
    return Added((rad.plan(setting, options), dad.plan(setting, options)), setting.only_target())


@pm.method(
    "rad_dad_joint",
    paper=f"ours, after {PAPER}",
    teachers=TEACHERS,
    deviations=(
        "not in the paper: both losses train one student, where the paper trains two and adds their logits",
        RECIPE,
        REGIONS,
        WEIGHTS,
        RELATIONS,
    ),
    search={"alpha": "log [0.1, 2]", "temperature": (1.0, 2.0, 4.0, 8.0), "beta": "log [1, 3000]"},
)
def rad_dad_joint(setting: pm.Setting, options: RadDadPlan) -> pm.Stage:
    """One student with the losses of `rad` and `dad` together (ours); options as theirs"""
    target, axes = setting.only_target(), region_axes(setting, options.teacher)
    require_joint_maps(setting, options.teacher)
    return Joint(teacher_of(setting, options.teacher), (target,), _stages(options), axes)


@pm.hookimpl
def pmbench_methods() -> Iterable[pm.Method]:
    return (rad, dad, rad_dad, rad_dad_joint)


@pm.hookimpl
def pmbench_backbones() -> Iterable[pm.Backbone]:
    return surf_resnet18


@pm.hookimpl
def pmbench_published() -> Iterable[pm.Published]:
    """The paper does not say whether its ACER is `acer` or `acer_mmh`; it is listed as `acer`."""
    return pm.read_published(__name__)
