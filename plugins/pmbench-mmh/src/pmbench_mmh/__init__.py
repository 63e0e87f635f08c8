"""Multimodal hallucination: region-aware (RAD) and discrepancy-aware (DAD) distillation, and both."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import pmbench as pm

from .backbones import surf_resnet18
from .stages import FORMS, SCALES, Added, DiscrepancyAware, Joint, RegionAware

PAPER = "Wei, Luo, Luo: Privileged modality learning via multimodal hallucination, IEEE TMM 2024"
AXES = {"sequence": 1, "image": 2, "clip": 2}
"""Axes that regions are cut along, by kind of modality; time of a clip is averaged away."""

Weighting = Literal["learned", "detached_G", "uniform"]
Form = Literal["cos_mse", "cos_fro", "sp_mse"]
Teacher = Literal["early", "late"]

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


@pm.method(
    "rad",
    paper=PAPER,
    deviations=(RECIPE, REGIONS, WEIGHTS),
    ablations={
        "-IW": pm.Ablation({"weighting": "uniform"}, ("MMH", "Table VI", "no_IW")),
        "-IW-MKTP": pm.Ablation(
            {"weighting": "uniform", "scales": (4,)}, ("MMH", "Table VI", "no_IW_no_MKTP")
        ),
    },
)
def rad(
    setting: pm.Setting,
    *,
    alpha: float = 0.4,
    temperature: float = 2.0,
    weighting: Weighting = "learned",
    scales: tuple[int, ...] = SCALES,
    teacher: Teacher = "early",
) -> pm.Stage:
    """Student agrees with a multimodal teacher on every region of a pyramid over the last feature map

    `alpha` weighs the regions against the labels. `weighting` of regions: a learned function of their
    divergences ("learned"), the same without gradient to the student ("detached_G"), or equal ("uniform").
    `scales`: cell sizes of the pyramid over 4 x 4 cells; 4 alone is the whole map. `teacher`: one network
    over all modalities ("early"), or finished streams whose logits are averaged ("late").
    """
    return _rad(setting, alpha, temperature, weighting, scales, teacher)


@pm.method(
    "dad",
    paper=PAPER,
    deviations=(RECIPE, RELATIONS),
    ablations={"L_CE": pm.Ablation({"beta": 0.0}, ("MMH", "Table VII", "L_CE"))},
)
def dad(
    setting: pm.Setting,
    *,
    beta: float | None = None,
    form: Form = "cos_mse",
    teacher: Teacher = "early",
) -> pm.Stage:
    """Student tells samples apart as the multimodal teacher does on the maps behind its fusion

    `form`: squared differences of cosine discrepancies, averaged ("cos_mse"), their Frobenius norm as
    printed ("cos_fro"), or of row-normalised dot products as in the released code ("sp_mse"). `beta`: 100,
    or 1 for "cos_fro". A late-fused `teacher` has no joint maps, so that it is not supported.
    """
    return _dad(setting, beta, form, teacher)


@pm.method(
    "rad_dad",
    paper=PAPER,
    networks=2,
    deviations=(RECIPE, REGIONS, WEIGHTS, RELATIONS),
    small={"alpha": 0.8, "temperature": 4.0, "beta": 1.0},
)
def rad_dad(
    setting: pm.Setting,
    *,
    alpha: float = 0.4,
    temperature: float = 2.0,
    weighting: Weighting = "learned",
    scales: tuple[int, ...] = SCALES,
    beta: float | None = None,
    form: Form = "cos_mse",
    teacher: Teacher = "early",
) -> pm.Stage:
    """The students of `rad` and `dad` side by side, their logits added; options as theirs"""
    relations = _dad(setting, beta, form, teacher)
    return Added(
        (_rad(setting, alpha, temperature, weighting, scales, teacher), relations), setting.only_target()
    )


@pm.method(
    "rad_dad_joint",
    paper=f"ours, after {PAPER}",
    deviations=(
        "not in the paper: both losses train one student, where the paper trains two and adds their logits",
        RECIPE,
        REGIONS,
        WEIGHTS,
        RELATIONS,
    ),
)
def rad_dad_joint(
    setting: pm.Setting,
    *,
    alpha: float = 0.4,
    temperature: float = 2.0,
    weighting: Weighting = "learned",
    scales: tuple[int, ...] = SCALES,
    beta: float | None = None,
    form: Form = "cos_mse",
    teacher: Teacher = "early",
) -> pm.Stage:
    """One student with the losses of `rad` and `dad` together (ours); options as theirs"""
    _require_joint_maps(setting, teacher)
    return Joint(
        _teacher(setting, teacher),
        setting.only_target(),
        alpha,
        temperature,
        weighting,
        tuple(sorted(set(scales))),
        _axes(setting, teacher),
        FORMS[form] if beta is None else beta,
        form,
    )


def _rad(
    setting: pm.Setting,
    alpha: float,
    temperature: float,
    weighting: str,
    scales: tuple[int, ...],
    teacher: str,
) -> RegionAware:
    return RegionAware(
        _teacher(setting, teacher),
        setting.only_target(),
        alpha,
        temperature,
        weighting,
        tuple(sorted(set(scales))),
        _axes(setting, teacher),
    )


def _dad(setting: pm.Setting, beta: float | None, form: str, teacher: str) -> DiscrepancyAware:
    _require_joint_maps(setting, teacher)
    weight = FORMS[form] if beta is None else beta
    return DiscrepancyAware(_teacher(setting, teacher), setting.only_target(), weight, form)


def _teacher(setting: pm.Setting, kind: str) -> pm.Stage:
    setting.only_target()
    if not setting.privileged:
        raise pm.Unsupported("needs a privileged modality, this setting has none")
    if kind == "late":
        return pm.LateFusion(tuple(pm.trained_on(m) for m in setting.all))
    return pm.trained_on(*setting.all)


def _axes(setting: pm.Setting, teacher: str) -> int:
    """Axes along which regions of teacher and student are the same places; 0 where there are no such."""
    target = setting.only_target()
    axes = {AXES.get(setting.modalities[m].kind, 0) for m in setting.all}
    aligned = all(setting.aligned(target, m) for m in setting.privileged)
    maps = all("maps" in setting.backbones[m].provides for m in setting.all)
    if not (aligned and maps and len(axes) == 1) or (teacher == "early" and not _joins_maps(setting)):
        return 0
    return axes.pop()


def _joins_maps(setting: pm.Setting) -> bool:
    """Whether early fusion joins maps: one backbone with a tail for all, one kind, one size."""
    backbones = {setting.backbones[m].name: setting.backbones[m] for m in setting.all}
    sizes = {(setting.modalities[m].kind, setting.modalities[m].shape[1:]) for m in setting.all}
    only = next(iter(backbones.values()))
    return len(backbones) == 1 and len(sizes) == 1 and only.tail is not None and "maps" in only.provides


def _require_joint_maps(setting: pm.Setting, teacher: str) -> None:
    """Raises Unsupported where the teacher has no maps behind the point where modalities are joined."""
    if teacher == "late":
        raise pm.Unsupported(
            "compares maps behind the fusion, and a late-fused teacher has none: its streams meet at logits",
            "leave teacher at early",
        )
    target = setting.only_target()
    setting.require_maps(target, *setting.privileged)
    if not _joins_maps(setting):
        shown = ", ".join(
            f"{m} ({setting.backbones[m].name}, {setting.modalities[m].kind} {setting.modalities[m].shape})"
            for m in setting.all
        )
        raise pm.Unsupported(
            f"compares maps behind the fusion, but fusing {shown} joins pooled vectors",
            "choose one backbone that offers a tail, for modalities of one kind and size",
        )


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
