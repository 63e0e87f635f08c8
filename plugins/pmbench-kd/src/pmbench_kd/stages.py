"""Generalized distillation."""

from __future__ import annotations

from dataclasses import dataclass

import pmbench as pm


@dataclass(frozen=True)
class GenDistillOptions(pm.DistillOptions):
    temperature: float = pm.option(2.0, "temperature of the teacher's logits", within="(0, inf)")
    imitation: float = pm.option(0.5, "weight of the soft term; the labels have 1 minus it", within="[0, 1]")
    scale: bool = pm.option(False, "multiply the soft term by T^2, as the authors' code does, not the paper")


@dataclass(frozen=True)
class Imitate(pm.Distill):
    """Student on `target` that imitates the tempered teacher, itself at temperature 1 (arXiv:1511.03643).

    (1-l) CE(z_s, y) + l c CE(softmax(z_T/T), softmax(z_s)), with l = `imitation`, T = `temperature` and c =
    1, or T^2 with `scale` as in the authors' code. The first term runs over the labelled samples, the
    second over those that have every modality the teacher reads.
    """

    options: GenDistillOptions = GenDistillOptions()

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        student, teacher = nets.student(batch).logits, nets.teacher(batch).logits
        o, taught = self.options, self.taught(batch)
        soft = pm.soft_cross_entropy(teacher[taught], student[taught], o.temperature)
        factor = o.temperature**2 if o.scale else 1.0
        return {
            "hard": (1 - o.imitation) * pm.cross_entropy(student, batch.labels),
            "soft": o.imitation * factor * soft,
        }
