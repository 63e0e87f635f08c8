"""Eq. 3, 5 and 7 of arXiv:1806.07110: imitation of features, of softened logits, or of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pmbench as pm

if TYPE_CHECKING:
    from torch import Tensor

WEIGHT = {"mean": 10.0, "frame": 0.25, "sse": 0.01}
"""Default weight of eq. 3. The authors' code (github.com/ncgarcia/modality-distillation) has 0.01 for the sum
over all elements, which is 0.25 for the sum over a frame at its 25 frames a batch."""


@dataclass(frozen=True)
class ImitationOptions(pm.Options):
    loss: Literal["eq3", "eq5", "eq7"] = pm.option("eq3", "imitate features, softened logits, or both")
    reduction: Literal["mean", "frame", "sse"] = pm.option("mean", "reduction of the feature loss")
    weight: float | None = pm.option(
        None, "weight of the feature loss; none: 10 for mean, 0.25 for frame, 0.01 for sse", within="[0, inf)"
    )
    alpha: float = pm.option(0.5, "share of the feature loss in eq7", within="[0, 1]")
    imitation: float = pm.option(
        0.5, "weight of the softened logits in eq5; labels have 1 minus it", within="[0, 1]"
    )
    temperature: float = pm.option(10.0, "temperature of the teacher's logits", within="(0, inf)")
    student_temperature: float = pm.option(10.0, "temperature of the student's logits", within="(0, inf)")

    @property
    def feature_weight(self) -> float:
        """`weight`, or the default for `reduction`."""
        return WEIGHT[self.reduction] if self.weight is None else self.weight


def imitation(
    options: ImitationOptions,
    layer: str,
    teacher: pm.Output,
    student: pm.Output,
    labels: Tensor,
    rows: Tensor | slice = slice(None),
) -> pm.Terms:
    """L_hall (eq. 3), L_GD (eq. 5), or (1-a) L_GD + a L_hall (eq. 7), with a = `alpha` and l = `imitation`.

    L_hall = w |sigmoid(sg A_p) - sigmoid(A_h)|^2                        (`hallucination`)
    L_GD = (1-l) CE(z_h, y) + l CE(softmax(sg z_p/T), softmax(z_h/T'))   (`hard`, `soft`)

    A is the last map or the pooled vector, by `layer`. `rows` selects the samples that have a teacher.
    """
    o, terms = options, {}
    share = {"eq3": 1.0, "eq5": 0.0, "eq7": o.alpha}[o.loss]
    if o.loss != "eq5":
        a_p, a_h = ((x.maps[-1] if layer == "map" else x.pooled)[rows] for x in (teacher, student))
        terms["hallucination"] = feature_loss(a_p, a_h, o.reduction, share * o.feature_weight)
    if o.loss != "eq3":
        z_p, z_h = teacher.logits[rows], student.logits[rows]
        soft = pm.soft_cross_entropy(z_p, z_h, o.temperature, o.student_temperature)
        terms["hard"] = (1 - share) * (1 - o.imitation) * pm.cross_entropy(student.logits, labels)
        terms["soft"] = (1 - share) * o.imitation * soft
    return terms


def feature_loss(teacher: Tensor, student: Tensor, reduction: str, weight: float) -> Tensor:
    """w |sigmoid(teacher) - sigmoid(student)|^2; the teacher is detached.

    `reduction`: "mean" over all elements; "sse", their sum; "frame", the sum over a frame's elements, mean
    over the batch and the frames F of maps (B, C, F, h, w). Other activations (B, *shape) have one frame.
    """
    total = ((teacher.detach().sigmoid() - student.sigmoid()) ** 2).sum()
    if reduction == "mean":
        return weight * (total / max(student.numel(), 1))
    frames = student.shape[2] if student.dim() == 5 else 1
    return weight * total / (max(len(student) * frames, 1) if reduction == "frame" else 1)
