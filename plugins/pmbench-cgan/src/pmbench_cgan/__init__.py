"""Cross-modality distillation with a conditional GAN: target samples generate privileged features."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import pmbench as pm

from .stages import VARIANTS, Generate, Rescore


@pm.method(
    "cgan",
    paper="Roheda, Riggan, Krim, Dai, ICASSP 2018, arXiv:1807.07682",
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
        for variant in VARIANTS
        for classifier in ("A", "B")
    },
)
def cgan(
    setting: pm.Setting,
    *,
    variant: Literal[
        "cgan", "cgan+cls", "cgan+cls+l2", "cgan+l2", "cls+l2", "dcor+cls", "cgan+dcor+cls"
    ] = "cgan+cls+l2",
    classifier: Literal["A", "B"] = "B",
    features: int = 50,
    alpha: float = 1e-3,
    beta: float = 1e-5,
    gamma: float = 1e-3,
    saturating: bool = False,
    dcor: Literal["biased", "u"] = "biased",
    noise: float = 0.5,
    generator_recipe: Literal["standard", "pix2pix"] = "standard",
) -> pm.Stage:
    """Target network that generates privileged features, against a discriminator that sees the target too

    `variant`: terms of the generator's loss. `classifier`: the privileged network's own, or that one
    fine-tuned on generated features. `alpha`, `beta`, `gamma` weigh the class, L2 and distance correlation
    terms, which are sums over samples. `features` is the width of what is generated; several privileged
    modalities are fused first, and then it is the width of the fused vector.
    """
    if features < 1:
        raise pm.UsageError(f"features {features}: expected a width of 1 or more")
    several = len(setting.privileged) > 1
    privileged = (
        pm.trained_on(*setting.privileged) if several else pm.Stream(setting.only_privileged(), features)
    )
    generated = Generate(
        privileged,
        setting.only_target(),
        variant,
        alpha,
        beta,
        gamma,
        saturating,
        dcor,
        noise,
        generator_recipe,
    )
    return generated if classifier == "A" else Rescore(generated)


@pm.hookimpl
def pmbench_methods() -> Iterable[pm.Method]:
    return (cgan,)


@pm.hookimpl
def pmbench_published() -> Iterable[pm.Published]:
    """`f1` is the paper's "average F-score", which the paper does not define."""
    return pm.read_published(__name__)
