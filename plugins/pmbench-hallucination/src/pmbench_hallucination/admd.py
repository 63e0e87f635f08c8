"""Stages of admd: a stream with a narrow bottleneck, the adversarial game, and what is tested."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pmbench as pm

if TYPE_CHECKING:
    from torch import Tensor, nn

JUDGE = {"optimizer": "adam", "lr": 1e-3, "weight_decay": 0.0}
"""The discriminator's recipe: Adam at 1e-3 as in the paper. h keeps the standard one."""


@dataclass(frozen=True)
class NarrowStream(pm.Stream):
    """A stream whose bottleneck is `bottleneck` wide, or as its pooled features if those are narrower."""

    bottleneck: int | None = 128

    def build(self, bench: pm.Bench) -> pm.Nets:
        features = bench.features(self.modality)
        width = min(self.bottleneck or features, features)
        return pm.Nets(student=bench.classifier(self.modality, bottleneck=width))


@dataclass(frozen=True)
class Deceive(pm.Stage):
    """h, looking at `target`, against a discriminator D that tells its bottleneck vectors from those of f_p.

    h has f_p's architecture and starts from it (`pm.hallucination`). v_p = bottleneck(f_p(x_p)), f_p frozen;
    v_h = bottleneck(h(x_t)); D has K + 1 classes, the last one "fake". In every batch first D minimises L_D,
    then h minimises L_H:

        L_D = 1/2 [CE(D(v_p), y) + CE(D(sg v_h), fake)]        L_H = CE(D(v_h), y)

    With `adversary` "lsgan" D has one output d in (0, 1) and sees no labels:

        L_D = 1/2 [mean (d(v_p) - 1)^2 + mean d(sg v_h)^2]     L_H = mean (d(v_h) - 1)^2

    Terms with y run over labelled samples, those with v_p over samples that have the privileged modality, the
    others over all. The head of h is frozen: it stays f_p's.
    """

    privileged: pm.Stage
    target: str
    adversary: str = "classes"
    discriminator: str = "action"
    frames: int = 1

    handles = frozenset({"unlabelled", "unpaired"})

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.target, *self.privileged.reads)

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .discriminator import Discriminator, Judged

        f_p = bench.frozen(self.privileged)
        h = pm.hallucination(bench, self.target, cast("pm.Classifier", f_p.network))
        h.head.requires_grad_(False)
        outputs = bench.num_classes + 1 if self.adversary == "classes" else 1
        judge = Discriminator(h.head.in_features, outputs, self.frames, self.discriminator)
        return pm.Nets(student=Judged(h, judge), privileged=f_p)

    def groups(self, nets: pm.Nets) -> Mapping[str, pm.Group]:
        student: Any = nets.student
        return {
            "discriminator": pm.Group((student.discriminator,), JUDGE),
            "hallucination": pm.Group((student.hallucination,)),
        }

    def update(self, nets: pm.Nets, batch: pm.Batch, step: pm.Step) -> None:
        student: Any = nets.student
        v_p = nets.privileged(batch).pooled
        v_h = student.hallucination(batch).pooled
        step(self.judgement(student.discriminator, v_p, v_h, batch), "discriminator")
        step(self.deception(student.discriminator, v_h, batch), "hallucination")

    def judgement(self, judge: nn.Module, v_p: Tensor, v_h: Tensor, batch: pm.Batch) -> pm.Terms:
        """The two halves of L_D; v_p and v_h (B, k) are detached."""
        paired = batch.present(*self.privileged.reads)
        real, fake = judge(v_p.detach()), judge(v_h.detach())
        if self.adversary == "lsgan":
            d_p, d_h = real[self._each(paired)].sigmoid(), fake.sigmoid()
            terms = pm.mse(d_p, d_p * 0 + 1), pm.mse(d_h, d_h * 0)
        else:
            y = self._each(batch.labels.masked_fill(~paired, -1))
            terms = pm.cross_entropy(real, y), pm.cross_entropy(fake, y * 0 + fake.shape[1] - 1)
        return {"judge_real": terms[0] / 2, "judge_fake": terms[1] / 2}

    def deception(self, judge: nn.Module, v_h: Tensor, batch: pm.Batch) -> pm.Terms:
        """L_H; v_h (B, k)."""
        verdict = judge(v_h)
        if self.adversary == "lsgan":
            d_h = verdict.sigmoid()
            return {"deceive": pm.mse(d_h, d_h * 0 + 1)}
        return {"deceive": pm.cross_entropy(verdict, self._each(batch.labels))}

    def _each(self, of_samples: Tensor) -> Tensor:
        """(B,) -> (B F,), the same for every frame."""
        return of_samples.repeat_interleave(self.frames)


@dataclass(frozen=True)
class Hallucination(pm.Stage):
    """What is tested: h alone, or the mean of its logits and those of a finished target network."""

    deceived: Deceive
    stream: pm.Stage | None

    trains = False

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.deceived.target,)

    def build(self, bench: pm.Bench) -> pm.Nets:
        h = pm.Frozen(bench.frozen(self.deceived).hallucination)
        return pm.Nets(student=h if self.stream is None else pm.Mean(bench.frozen(self.stream), h))
