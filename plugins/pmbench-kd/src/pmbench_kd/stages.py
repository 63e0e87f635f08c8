"""Generalized distillation."""

from __future__ import annotations

from dataclasses import dataclass

import pmbench as pm


@dataclass(frozen=True)
class Imitate(pm.Distill):
    """Student on `target` that imitates the tempered teacher, itself at temperature 1 (arXiv:1511.03643).

    (1-l) CE(z_s, y) + l c CE(softmax(z_T/T), softmax(z_s)), with l = `imitation`, T = `temperature` and c =
    1, or T^2 with `scale` as in the authors' code. The first term runs over the labelled samples, the
    second over those that have every modality the teacher reads.
    """

    temperature: float = 2.0
    imitation: float = 0.5
    scale: bool = False

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        student, teacher = nets.student(batch).logits, nets.teacher(batch).logits
        taught = batch.present(*self.teacher.reads)
        soft = pm.soft_cross_entropy(teacher[taught], student[taught], self.temperature)
        factor = self.temperature**2 if self.scale else 1.0
        return {
            "hard": (1 - self.imitation) * pm.cross_entropy(student, batch.labels),
            "soft": self.imitation * factor * soft,
        }
