"""Distillation from a privileged teacher by features, by relations among samples, and by parts of logits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pmbench as pm

from .assistant import Assistant
from .stages import (
    Cmkd,
    CmkdOptions,
    Dist,
    DistOptions,
    Dkd,
    DkdOptions,
    Fitnet,
    FitnetOptions,
    Follow,
    Mars,
    MarsOptions,
    Mers,
    Mlld,
    MlldOptions,
    Pkd,
    PkdOptions,
    Pkt,
    PktOptions,
    Rkd,
    RkdOptions,
    Sp,
    SpOptions,
    TakdOptions,
)

POOLED = "pooled features in place of a hidden layer's"
ACROSS = "the paper distills within a modality; the teacher here sees the privileged one"


def _student(kind: Any, setting: pm.Setting, options: Any) -> pm.Stage:
    return kind(pm.teacher_of(setting, options.teacher), setting.target, options)


@pm.method(
    "fitnet",
    paper="arXiv:1412.6550",
    teachers=pm.TEACHERS,
    deviations=(POOLED, ACROSS),
    ablations={
        "L_CE + L_Hall": pm.Ablation(
            {"teacher": "fused"}, ("MMH", "Table VII", "L_CE+L_Hall_from_multimodal_teacher")
        )
    },
    search={"weight": "log [1, 1000]"},
)
def fitnet(setting: pm.Setting, options: FitnetOptions) -> pm.Stage:
    """Student whose features, through a learned regressor, match those of the teacher"""
    return _student(Fitnet, setting, options)


@pm.method(
    "mars",
    paper="Crasto, Weinzaepfel, Alahari, Schmid, CVPR 2019 (MARS)",
    teachers=pm.TEACHERS,
    search={"weight": "log [1, 500]"},
)
def mars(setting: pm.Setting, options: MarsOptions) -> pm.Stage:
    """Student whose features match those of the privileged stream, and whose logits match the labels"""
    return _student(Mars, setting, options)


@pm.method(
    "mers",
    paper="Crasto, Weinzaepfel, Alahari, Schmid, CVPR 2019 (MERS)",
    teachers=pm.TEACHERS,
    deviations=("one forward pass a step, where the authors' code runs two",),
    search={"weight": "log [1, 500]"},
)
def mers(setting: pm.Setting, options: MarsOptions) -> pm.Stage:
    """Encoder that sees the privileged stream's features and no label, and a head that sees labels alone"""
    return _student(Mers, setting, options)


@pm.method(
    "cmkd",
    paper="Wei, Luo, Luo, IEEE TMM 2024 (CMKD row); idea of Hong, Dai, Ding, arXiv:2211.07171",
    teachers=pm.TEACHERS,
    deviations=("pooled features in place of the last map", "weights 1 and 1, T = 2: none are printed"),
    search={"features": "log [0.1, 100]", "soft": "log [0.1, 10]", "temperature": (1.0, 2.0, 4.0, 8.0)},
)
def cmkd(setting: pm.Setting, options: CmkdOptions) -> pm.Stage:
    """Student that matches features and logits of the multimodal teacher at once"""
    return _student(Cmkd, setting, options)


@dataclass(frozen=True)
class AssistedOptions(TakdOptions):
    assistant: str | None = pm.option(None, "backbone of the assistant; none: the student's")


@pm.method(
    "takd",
    paper="arXiv:1902.03393, as the TAKD row of Wei, Luo, Luo, IEEE TMM 2024",
    teachers=pm.TEACHERS,
    deviations=("the assistant has the student's backbone, unless `assistant` names another",),
    search={"temperature": (1.0, 2.0, 4.0, 8.0), "imitation": "[0.1, 0.9]"},
)
def takd(setting: pm.Setting, options: AssistedOptions) -> pm.Stage:
    """An assistant on the target modality is distilled from the teacher, the student from the assistant"""
    teacher = pm.teacher_of(setting, options.teacher)
    assistant = pm.Distill(teacher, setting.target, options, replica=1)
    if options.assistant is not None:
        assistant = Assistant(teacher, (setting.only_target(),), options, options.assistant, replica=1)
    return Follow(assistant, setting.target, options)


@pm.method(
    "pkd",
    paper="arXiv:2207.02039",
    teachers=pm.TEACHERS,
    deviations=(POOLED, ACROSS),
    search={"weight": "log [0.1, 100]"},
)
def pkd(setting: pm.Setting, options: PkdOptions) -> pm.Stage:
    """Student whose features correlate with those of the teacher, channel by channel"""
    return _student(Pkd, setting, options)


@pm.method(
    "rkd",
    paper="arXiv:1904.05068",
    teachers=pm.TEACHERS,
    deviations=(ACROSS,),
    search={"distance": "log [1, 100]", "angle": "log [1, 200]"},
)
def rkd(setting: pm.Setting, options: RkdOptions) -> pm.Stage:
    """Student that keeps the teacher's distances of pairs and angles of triplets of samples"""
    return _student(Rkd, setting, options)


@pm.method("pkt", paper="arXiv:1803.10837", teachers=pm.TEACHERS, search={"weight": "log [300, 300000]"})
def pkt(setting: pm.Setting, options: PktOptions) -> pm.Stage:
    """Student in whose features samples have the neighbours that they have in the teacher's"""
    return _student(Pkt, setting, options)


@pm.method(
    "sp",
    paper="arXiv:1907.09682",
    teachers=pm.TEACHERS,
    deviations=(ACROSS,),
    search={"weight": "log [30, 30000]"},
)
def sp(setting: pm.Setting, options: SpOptions) -> pm.Stage:
    """Student whose maps make the same pairs of samples similar as the teacher's"""
    return _student(Sp, setting, options)


@pm.method(
    "dkd",
    paper="arXiv:2203.08679",
    teachers=pm.TEACHERS,
    deviations=("the weights rise over a twelfth of training, as 20 of the paper's 240 epochs", ACROSS),
    search={"alpha": "log [0.2, 5]", "beta": "log [0.5, 20]", "temperature": (1.0, 2.0, 4.0, 8.0)},
)
def dkd(setting: pm.Setting, options: DkdOptions) -> pm.Stage:
    """Student that matches apart how sure the teacher is of the label, and how it ranks the other classes"""
    return _student(Dkd, setting, options)


@pm.method(
    "dist",
    paper="arXiv:2205.10536",
    teachers=pm.TEACHERS,
    deviations=("T = 1, weights 1", ACROSS),
    search={"beta": "log [0.1, 10]", "gamma": "log [0.1, 10]"},
)
def dist(setting: pm.Setting, options: DistOptions) -> pm.Stage:
    """Student whose probabilities correlate with the teacher's, within samples and within classes"""
    return _student(Dist, setting, options)


@pm.method(
    "mlld",
    paper="Jin, Wang, Lin, CVPR 2023 (multi-level logit distillation)",
    teachers=pm.TEACHERS,
    deviations=(
        "means of squares in place of sums over classes and samples",
        "one view of each sample",
        ACROSS,
    ),
    search={"imitation": "[0.1, 0.9]"},
)
def mlld(setting: pm.Setting, options: MlldOptions) -> pm.Stage:
    """Student that matches the teacher's probabilities by sample, by class and by pairs of samples"""
    return _student(Mlld, setting, options)


@pm.hookimpl
def pmbench_methods() -> Iterable[pm.Method]:
    return (fitnet, mars, mers, cmkd, takd, pkd, rkd, pkt, sp, dkd, dist, mlld)
