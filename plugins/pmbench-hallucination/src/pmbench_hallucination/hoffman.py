"""The hallucination stage: a second network on the target modality imitates the privileged one's features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import pmbench as pm

LAMBDA = {"mean": 10.0, "sse": 0.01}
"""Weight of eq. 3 where none is given; that of the sum is from github.com/ncgarcia/modality-distillation."""


@dataclass(frozen=True)
class Hallucinate(pm.Stage):
    """Target network f_t, privileged network f_p, and h: f_p's architecture on the target modality.

    CE(z_t) + CE(z_h) + CE((z_t + z_h)/2) + CE((z_t + sg z_p)/2) + L_x, and CE(z_p) with `train_privileged`,
    where L_x is one of these (numbered as in arXiv:1806.07110; sg: no gradient):

    eq3  L_hall = w |sigmoid(sg A_p) - sigmoid(A_h)|^2, mean over all elements, or the sum: `reduction` "sse"
    eq5  L_GD = (1-l) CE(z_h) + l CE(softmax(sg z_p/T), softmax(z_h/T'))
    eq7  (1-a) L_GD + a L_hall

    A is the last map (B, C, *grid) or the pooled vector (B, D), by `layer`. CE runs over labelled samples;
    whatever looks at x_p over samples that have it. h starts from the trained f_p (`pm.hallucination`).
    """

    target: pm.Stage
    privileged: pm.Stage
    loss: str = "eq3"
    layer: str = "map"
    reduction: str = "mean"
    weight: float = LAMBDA["mean"]
    alpha: float = 0.5
    imitation: float = 0.5
    temperature: float = 10.0
    student_temperature: float = 10.0
    train_privileged: bool = False

    handles = frozenset({"unlabelled", "unpaired"})

    def __post_init__(self) -> None:
        pm.require_in("(0, inf)", temperature=self.temperature, student_temperature=self.student_temperature)
        pm.require_in("[0, 1]", imitation=self.imitation, alpha=self.alpha)
        pm.require_in("[0, inf)", weight=self.weight)

    @property
    def reads(self) -> tuple[str, ...]:
        return (*self.target.reads, *self.privileged.reads)

    def build(self, bench: pm.Bench) -> pm.Nets:
        if self.layer == "pooled" and self.loss != "eq5":
            bench.note("pooled vectors are compared in place of maps")
        trained = cast("pm.Classifier", bench.trainable(self.privileged))
        h = pm.hallucination(bench, *self.target.reads, trained)
        f_p = trained if self.train_privileged else bench.frozen(self.privileged)
        return pm.Nets(target=bench.trainable(self.target), hallucination=h, privileged=f_p)

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        y = batch.labels
        paired = batch.present(self.privileged.reads[0])
        y_paired = y.masked_fill(~paired, -1)
        t, h, p = nets.target(batch), nets.hallucination(batch), nets.privileged(batch)
        z_p = p.logits.detach()
        terms = {
            "ce_target": pm.cross_entropy(t.logits, y),
            "ce_hallucination": pm.cross_entropy(h.logits, y),
            "ce_target_hallucination": pm.cross_entropy((t.logits + h.logits) / 2, y),
            "ce_target_privileged": pm.cross_entropy((t.logits + z_p) / 2, y_paired),
        }
        if self.train_privileged:
            terms["ce_privileged"] = pm.cross_entropy(p.logits, y_paired)
        share = {"eq3": 1.0, "eq5": 0.0, "eq7": self.alpha}[self.loss]
        if self.loss != "eq5":
            a_p, a_h = (o.maps[-1] if self.layer == "map" else o.pooled for o in (p, h))
            elements = max(a_h[paired].numel(), 1) if self.reduction == "mean" else 1
            distance = pm.sigmoid_distance(a_p[paired], a_h[paired]) / elements
            terms["hallucination"] = share * self.weight * distance
        if self.loss != "eq3":
            z_t, z_h = z_p[paired], h.logits[paired]
            soft = pm.soft_cross_entropy(z_t, z_h, self.temperature, self.student_temperature)
            terms["hard"] = (1 - share) * (1 - self.imitation) * pm.cross_entropy(h.logits, y)
            terms["soft"] = (1 - share) * self.imitation * soft
        return terms

    def deliver(self, nets: pm.Nets) -> pm.Mean:
        return pm.Mean(nets.target, nets.hallucination)
