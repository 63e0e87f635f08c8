"""Cross-modality distillation with a conditional GAN: target samples generate privileged features."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import pmbench as pm

from .stages import Generate, GenerateOptions, Rescore, Variant


@dataclass(frozen=True)
class CganOptions(GenerateOptions):
    classifier: Literal["A", "B"] = pm.option("B", "the privileged network's, or that one fine-tuned")
    features: int = pm.option(50, "width of the features of one privileged modality", within="[1, inf)")


@pm.method(
    "cgan",
    paper="Roheda, Riggan, Krim, Dai, ICASSP 2018, arXiv:1807.07682",
    teachers="own",
    deviations=(
        "the harness's backbones in place of the paper's three convolutions; a ReLU on the 50 features",
        "full softmax cross-entropy; the printed loss of the classifier covers positive samples only",
        "the noise is dropout on pooled features, off at test",
        "the paper names no optimiser: Adam at 2e-4 for the discriminator, the standard recipe for the rest",
    ),
    ablations={
        f"{variant}, C_{classifier}": pm.Ablation(
            {"variant": variant, "classifier": classifier},
            ("Roheda et al., ICASSP 2018 (CGAN)", "Table 1", f"{variant}/C_{classifier}"),
        )
        for variant in get_args(Variant)
        if variant != "l2"
        for classifier in "AB"
    }
    | {
        "l2 (teacher-student), C_B": pm.Ablation(
            {"variant": "l2", "classifier": "B"},
            ("Roheda et al., ICASSP 2018 (CGAN)", "Table 1", "teacher_student_l2/C_B"),
        )
    },
    search={
        "features": (16, 50),
        "alpha": "log [1e-4, 0.1]",
        "beta": "log [1e-6, 1e-3]",
        "noise": "[0, 0.5]",
    },
)
def cgan(setting: pm.Setting, options: CganOptions) -> pm.Stage:
    """Target network that generates privileged features, against a discriminator that sees the target too"""
    if len(setting.privileged) > 1:
        privileged = pm.trained_on(*setting.privileged)
    else:
        privileged = pm.Stream(setting.only_privileged(), options.features)
    generated = Generate(privileged, setting.only_target(), options)
    return generated if options.classifier == "A" else Rescore(generated)


@pm.hookimpl
def pmbench_methods() -> Iterable[pm.Method]:
    return (cgan,)


@pm.hookimpl
def pmbench_published() -> Iterable[pm.Published]:
    """`f1` is the paper's "average F-score", which the paper does not define."""
    return pm.read_published(__name__)
