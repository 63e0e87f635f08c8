"""The game between a student and a discriminator of the teacher's features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pmbench as pm

DISCRIMINATOR = {"optimizer": "adam", "lr": 2e-4, "beta1": 0.5, "weight_decay": 0.0}
"""Adam as in the experiments of arXiv:1702.05464 on digits."""


@dataclass(frozen=True)
class AddaOptions(pm.Options):
    teacher: Literal["fused", "privileged"] = pm.option(
        "privileged", "the teacher sees all modalities, or the privileged ones alone"
    )
    weight: float = pm.option(1.0, "weight of the adversarial term", within="[0, inf)")
    hidden: int = pm.option(500, "width of the discriminator's hidden layers", within="[1, inf)")


@dataclass(frozen=True)
class Adda(pm.TeacherStudent):
    """D tells pooled features of the teacher from those of the student, r a linear layer where widths differ.

    In every batch first D minimizes -E log D(phi_T) - E log(1 - D(sg r(phi_s))), and then the student
    CE(z_s, y) - weight E log D(r(phi_s)). CE runs over labelled samples, phi_T over samples that have every
    modality of the teacher, the others over all.
    """

    options: AddaOptions = AddaOptions()

    def build(self, bench: pm.Bench) -> pm.Nets:
        from torch import nn

        from .networks import Discriminator

        nets = super().build(bench)
        own, theirs = nets.student.head.in_features, nets.teacher.head.in_features
        nets.add_module("adapter", nn.Identity() if own == theirs else nn.Linear(own, theirs))
        nets.add_module("discriminator", Discriminator(theirs, self.options.hidden))
        return nets

    def groups(self, nets: pm.Nets) -> dict[str, pm.Group]:
        return {
            "main": pm.Group((nets.student, nets.adapter)),
            "discriminator": pm.Group((nets.discriminator,), DISCRIMINATOR),
        }

    def update(self, nets: pm.Nets, batch: pm.Batch, step: pm.Step) -> None:
        from .losses import is_fake, is_real

        student: Any = nets.student(batch)
        seen, judge = nets.adapter(student.pooled), nets.discriminator
        real = judge(nets.teacher(batch).pooled[self.taught(batch)].detach())
        step({"judge_real": is_real(real), "judge_fake": is_fake(judge(seen.detach()))}, "discriminator")
        deceive = self.options.weight * is_real(judge(seen))
        step({"ce": pm.cross_entropy(student.logits, batch.labels), "deceive": deceive})
