"""Contrast of samples: distillation with memory banks, by transport, by compositions, and joint alignment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pmbench as pm

from .stages import Ccl, CclOptions, Crcd, CrcdOptions, Crd, CrdOptions, Gmc, GmcOptions, Wcord, WcordOptions

UNLABELLED = "a sample without label is negative to all others; the paper has labels of all"


def _student(kind: Any, setting: pm.Setting, options: Any) -> pm.Stage:
    return kind(pm.teacher_of(setting, options.teacher), setting.target, options)


@pm.method(
    "crd",
    paper="arXiv:1910.10699",
    teachers=pm.TEACHERS,
    deviations=(
        "a fused teacher: the paper has one on another modality (teacher=privileged)",
        "as many negatives as there are, at most the paper's 16,384",
        UNLABELLED,
    ),
    ablations={"CRD + KD": pm.Ablation({"soft": 1.0})},
    search={"weight": "log [0.05, 5]", "tau": (0.05, 0.07, 0.1, 0.3, 0.5)},
)
def crd(setting: pm.Setting, options: CrdOptions) -> pm.Stage:
    """Student whose features are near the teacher's of the same sample, and far from other classes'"""
    return _student(Crd, setting, options)


@pm.method(
    "crcd",
    paper="arXiv:2103.16367",
    teachers=pm.TEACHERS,
    deviations=(
        "a fused teacher: the paper distills within a modality",
        "the direction from an anchor to itself is left out; the authors' code has a constant there",
        "the gradients' term is added; the authors' code multiplies it by that of the logits",
        UNLABELLED,
    ),
    ablations={"relations of features alone": pm.Ablation({"gradients": 0.0})},
    search={"weight": "log [0.1, 10]", "gradients": "log [0.1, 10]", "soft": "log [0.1, 2]"},
)
def crcd(setting: pm.Setting, options: CrcdOptions) -> pm.Stage:
    """Student that keeps the teacher's directions from sample to sample, of features and of gradients"""
    return _student(Crcd, setting, options)


@pm.method(
    "wcord",
    paper="arXiv:2012.08674",
    teachers=pm.TEACHERS,
    deviations=(
        "a bilinear critic of projections into the unit ball",
        "negatives weigh 1 together; the paper's weight is their number (negative_weight=count)",
        "no code is public: entropy, rounds and the weights 0.8 and 0.05 are not verified",
        UNLABELLED,
    ),
    ablations={"global alone": pm.Ablation({"primal": 0.0}), "local alone": pm.Ablation({"dual": 0.0})},
    search={"dual": "log [0.05, 5]", "primal": "log [0.005, 0.5]"},
)
def wcord(setting: pm.Setting, options: WcordOptions) -> pm.Stage:
    """Student near the teacher in Wasserstein distance: of pairs against non-pairs, and within a batch"""
    return _student(Wcord, setting, options)


@pm.method(
    "ccl",
    paper="arXiv:2104.10955",
    teachers="own",
    deviations=(
        "the privileged network is the plain stream of the same data, not one from a larger data set",
        "the student's step sees the compositions after theirs; the authors' code computes them once",
    ),
    search={"tau": "log [0.1, 1]", "divergence": "log [0.05, 5]"},
)
def ccl(setting: pm.Setting, options: CclOptions) -> pm.Stage:
    """Student contrasted with a frozen privileged network and with compositions of it and the student"""
    if not setting.privileged:
        raise pm.Unsupported("needs a privileged modality to compose, this setting has none")
    return Ccl(setting.only_target(), tuple(pm.Stream(m) for m in setting.privileged), options)


@pm.method(
    "gmc",
    paper="arXiv:2202.03390",
    teachers="own",
    deviations=(
        "cross-entropy in place of the paper's regression loss",
        "the joint encoder is early fusion; the paper's is a transformer across modalities",
    ),
    search={"tau": "log [0.05, 1]"},
)
def gmc(setting: pm.Setting, options: GmcOptions) -> pm.Stage:
    """Encoders whose vectors are aligned with those of a joint encoder, and a classifier of the joint ones"""
    if not setting.privileged:
        raise pm.Unsupported("needs a privileged modality to join, this setting has none")
    return Gmc(setting.target, setting.privileged, options)


@pm.hookimpl
def pmbench_methods() -> Iterable[pm.Method]:
    return (crd, crcd, wcord, ccl, gmc)
