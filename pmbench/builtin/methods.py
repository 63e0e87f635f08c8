"""Reference rows and controls, to which every method is compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pmbench as pm

from .reference_stages import Filled


@pm.method("target_only", paper="the floor: plain supervised training", role="floor")
def target_only(setting: pm.Setting) -> pm.Stage:
    """Network on the target modalities alone; the floor"""
    return pm.trained_on(*setting.target)


@pm.method("early_fusion", paper="the ceiling: plain supervised training", role="ceiling", tests_on="all")
def early_fusion(setting: pm.Setting) -> pm.Stage:
    """One network over all modalities, also at test; may be the ceiling"""
    return pm.trained_on(*setting.all)


@pm.method("privileged_only", paper="plain supervised training", role="reference", tests_on="privileged")
def privileged_only(setting: pm.Setting) -> pm.Stage:
    """Network on the privileged modalities alone, also at test; may be the ceiling"""
    return pm.trained_on(*setting.privileged)


@dataclass(frozen=True)
class LateFusionOptions(pm.Options):
    form: Literal["indep", "joint"] = pm.option(
        "indep", "average finished streams, or fine-tune them together on the averaged logits"
    )


@pm.method("late_fusion", paper="plain supervised training", role="reference", tests_on="all", networks=2)
def late_fusion(setting: pm.Setting, options: LateFusionOptions) -> pm.Stage:
    """One stream per modality, also at test, mean of their logits; may be the ceiling"""
    streams = tuple(pm.trained_on(m) for m in setting.all)
    return pm.LateFusion(streams) if options.form == "indep" else pm.JointLateFusion(streams)


@pm.method("target_ensemble", paper="plain supervised training", role="reference", networks=2)
def target_ensemble(setting: pm.Setting) -> pm.Stage:
    """Two target networks from different seeds, mean of their logits; the control of two-network methods"""
    return pm.LateFusion((pm.trained_on(*setting.target), pm.trained_on(*setting.target, replica=1)))


@dataclass(frozen=True)
class MissingFillOptions(pm.Options):
    form: Literal["indep", "joint", "early"] = pm.option(
        "indep", "late fusion of finished streams, of streams fine-tuned together, or one fused network"
    )


@pm.method(
    "missing_fill",
    paper="Garcia et al., ECCV 2018, arXiv:1806.07110 (its test with the depth input left out)",
    role="reference",
    networks=2,
    deviations=("the training mean replaces the missing input; raw zeros and multiplied noise are left out",),
)
def missing_fill(setting: pm.Setting, options: MissingFillOptions) -> pm.Stage:
    """A multimodal network tested without its privileged input, which the training mean replaces"""
    if options.form == "early":
        return Filled(pm.trained_on(*setting.all), setting.target)
    streams = tuple(pm.trained_on(m) for m in setting.all)
    fused = pm.LateFusion(streams) if options.form == "indep" else pm.JointLateFusion(streams)
    return Filled(fused, setting.target)


@pm.method(
    "self_distill",
    paper="arXiv:1503.02531, without privilege",
    role="control",
    teachers="target_only",
    search={"temperature": (1.0, 2.0, 4.0, 8.0), "imitation": "[0.1, 0.9]"},
)
def self_distill(setting: pm.Setting, options: pm.DistillOptions) -> pm.Stage:
    """Student taught by its own network from another seed: the control of `kd`, without privilege"""
    teacher = pm.trained_on(*setting.target, replica=1)
    return pm.Distill(teacher, setting.target, options)


@pm.method(
    "self_train",
    paper="Lee, ICML workshops 2013 (pseudo-label)",
    role="control",
    teachers="target_only",
    search={"labels": ("hard", "soft"), "threshold": (None, 0.5, 0.8, 0.95)},
)
def self_train(setting: pm.Setting, options: pm.PseudoLabelOptions) -> pm.Stage:
    """Pseudo-labels of the target network from another seed: the control of `pseudo_label`"""
    if "unlabelled" not in setting.demands:
        raise pm.Unsupported(
            "needs training samples without label, and under this protocol every sample has one",
            "choose a few-K protocol",
        )
    teacher = pm.trained_on(*setting.target, replica=1)
    return pm.PseudoLabel(teacher, setting.target, options)


METHODS = (
    target_only,
    early_fusion,
    privileged_only,
    late_fusion,
    target_ensemble,
    missing_fill,
    self_distill,
    self_train,
)
