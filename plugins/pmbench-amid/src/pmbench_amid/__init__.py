"""AMID: a student and a teacher composed of it and a privileged extractor, tied by mutual information."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import pmbench as pm

from .stages import Amid, Compose


@pm.method(
    "amid",
    paper="Chen, Xing, Wang, Zhang, CVPR 2023, arXiv:2306.07646 (AMID)",
    deviations=(
        "the privileged extractor is the plain stream of the same data, not one from a larger data set",
        "backbones keep their own activations; leaky ReLU in the teacher's MLP and the discriminators alone",
        "warm-up for 20 epochs, at most a third of training",
        "L_MI is divided by the batch size once more where a class has over 2 samples in a batch",
    ),
    ablations={
        "L_MIs": pm.Ablation({"alpha2": 0.0, "alpha3": 0.0}, ("AMID", "Table 4", "L_MIs/student")),
        "L_MIs + L_MIa": pm.Ablation({"alpha3": 0.0}, ("AMID", "Table 4", "L_MIs+L_MIa/student")),
        "full": pm.Ablation({}, ("AMID", "Table 4", "full/student")),
        "full with L_nce": pm.Ablation({"mi": "nce"}, ("AMID", "Table 4", "full_with_L_nce/student")),
        "fixed teacher": pm.Ablation({"teacher": "fixed"}, ("AMID", "Table 5", "fixed_teacher")),
        "no warm-up": pm.Ablation({"warmup": 0.0}, ("AMID", "Table 5", "no_warmup")),
        "no D2": pm.Ablation({"second_discriminator": False}, ("AMID", "Table 5", "no_D2")),
        "no dynamic weight": pm.Ablation(
            {"dynamic_weights": False}, ("AMID", "Table 5", "no_dynamic_weight")
        ),
    },
)
def amid(
    setting: pm.Setting,
    *,
    dim: int | None = None,
    alpha1: float = 4.0,
    alpha2: float = 1.6,
    alpha3: float = 1.0,
    tau: float = 0.5,
    mi: Literal["bound", "nce"] = "bound",
    mi_reduction: Literal["auto", "sum", "mean"] = "auto",
    jsd: Literal["lin", "ccl"] = "lin",
    warmup: float = 1 / 3,
    warmup_epochs: int = 20,
    teacher: Literal["online", "detached", "fixed"] = "online",
    second_discriminator: bool = True,
    dynamic_weights: bool = True,
    beta: float = 0.9,
    discriminator_lr: float = 1e-4,
) -> pm.Stage:
    """Student tied by mutual information and a discriminator to a teacher composed of both extractors

    `alpha1`, `alpha2`, `alpha3` weigh the bounds with student and privileged features and the adversarial
    term. `dim` is the width of all representations, by default that of the student's pooled vector.
    """
    t = setting.only_target()
    if not setting.privileged:
        raise pm.Unsupported("needs a privileged modality to compose its teacher of, this setting has none")
    auxiliaries = tuple(pm.Stream(m) for m in setting.privileged)
    return Amid(
        t,
        auxiliaries,
        dim,
        alpha1,
        alpha2,
        alpha3,
        tau,
        mi,
        mi_reduction,
        jsd,
        warmup,
        warmup_epochs,
        "online" if teacher == "fixed" else teacher,
        Compose(t, auxiliaries, dim) if teacher == "fixed" else None,
        second_discriminator,
        dynamic_weights,
        beta,
        discriminator_lr,
    )


@pm.hookimpl
def pmbench_methods() -> Iterable[pm.Method]:
    return (amid,)


@pm.hookimpl
def pmbench_published() -> Iterable[pm.Published]:
    return pm.read_published(__name__)
