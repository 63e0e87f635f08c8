"""Knowledge distillation from a privileged teacher: Hinton's, generalized distillation, pseudo-labels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import pmbench as pm

from .stages import Imitate


@pm.method("kd", paper="arXiv:1503.02531")
def kd(
    setting: pm.Setting,
    *,
    temperature: float = 4.0,
    imitation: float = 0.9,
    teacher: Literal["fused", "privileged"] = "fused",
) -> pm.Stage:
    """Student matches the softened logits of a teacher that sees the privileged modalities

    `imitation` is the weight of the soft term, 1 minus it that of the labels. The teacher sees all modalities
    ("fused") or the privileged ones alone ("privileged").
    """
    return pm.Distill(_teacher(setting, teacher), setting.target, temperature, imitation)


@pm.method(
    "gen_distill",
    paper="arXiv:1511.03643",
    deviations=("T = 2 and l = 0.5 are fixed, where the paper searches both for every data set",),
)
def gen_distill(
    setting: pm.Setting, *, temperature: float = 2.0, imitation: float = 0.5, scale: bool = False
) -> pm.Stage:
    """Generalized distillation: the teacher sees privileged modalities alone, only its logits are softened

    `scale` multiplies the soft term by the squared temperature, as the authors' code does and the paper
    does not.
    """
    return Imitate(_teacher(setting, "privileged"), setting.target, temperature, imitation, scale)


@pm.method(
    "pseudo_label",
    paper="Lee, ICML workshops 2013 (pseudo-label), with a teacher that sees privileged modalities",
    deviations=("the labels come from a finished privileged teacher, not from the student itself",),
)
def pseudo_label(
    setting: pm.Setting,
    *,
    teacher: Literal["fused", "privileged"] = "fused",
    labels: Literal["hard", "soft"] = "hard",
    threshold: float | None = None,
) -> pm.Stage:
    """A privileged teacher labels the samples that have no label; the student trains on both

    Needs a few-K protocol. `threshold` leaves out samples whose most probable class is less probable than
    that.
    """
    if "unlabelled" not in setting.demands:
        raise pm.Unsupported(
            "needs training samples without label, and under this protocol every sample has one",
            "choose a few-K protocol",
        )
    return pm.PseudoLabel(_teacher(setting, teacher), setting.target, labels, threshold)


def _teacher(setting: pm.Setting, sees: str) -> pm.Stage:
    return pm.trained_on(*(setting.all if sees == "fused" else setting.privileged))


@pm.hookimpl
def pmbench_methods() -> Iterable[pm.Method]:
    return (kd, gen_distill, pseudo_label)
