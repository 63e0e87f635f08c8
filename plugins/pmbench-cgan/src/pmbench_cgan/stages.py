"""Stages of cgan: the game between generator and discriminator, and the classifier fitted to its outcome."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pmbench as pm

if TYPE_CHECKING:
    from torch import Tensor

    from .networks import Discriminator

VARIANTS = ("cgan", "cgan+cls", "cgan+cls+l2", "cgan+l2", "cls+l2", "dcor+cls", "cgan+dcor+cls")
"""Rows of the paper's table 1: which terms the generator's loss has."""

PIX2PIX = {"optimizer": "adam", "lr": 2e-4, "beta1": 0.5, "weight_decay": 0.0}
"""Adam as in arXiv:1611.07004; the paper names no optimiser."""


@dataclass(frozen=True)
class Generate(pm.Stage):
    """G makes of `target` the features F_M of a finished privileged network; D judges pairs (x_t, F).

    F_M = M(x_p) and C_A are the pooled vector and the head of `privileged`, both frozen; F_G = G(z, x_t). In
    every batch D minimises

        L_D = -E log D(x_t, F_M) - E log(1 - D(x_t, sg F_G))

    and then G the sum of the terms that `variant` names (eq. 4 of arXiv:1807.07682):

        cgan  -E log D(x_t, F_G)                     or E log(1 - D(x_t, F_G)) if `saturating`
        cls   alpha sum_i CE(C_A(F_G,i), y_i)        over labelled samples
        l2    beta sum_i |F_M,i - F_G,i|^2           over samples that have every privileged modality
        dcor  gamma n (1 - dCor(F_M, F_G))           over the n such samples

    Without "cgan" there is no D. E is a mean over samples; whatever looks at F_M skips those without it.
    Delivered: C_A(G(x_t)), with z off.
    """

    privileged: pm.Stage
    target: str
    variant: str = "cgan+cls+l2"
    alpha: float = 1e-3
    beta: float = 1e-5
    gamma: float = 1e-3
    saturating: bool = False
    dcor: str = "biased"
    noise: float = 0.5
    generator_recipe: str = "standard"

    handles = frozenset({"unlabelled", "unpaired"})

    def __post_init__(self) -> None:
        pm.require_in("[0, inf)", alpha=self.alpha, beta=self.beta, gamma=self.gamma)
        pm.require_in("[0, 1)", noise=self.noise)

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.target, *self.privileged.reads)

    def has(self, term: str) -> bool:
        """Whether `variant` names this term."""
        return term in self.variant.split("+")

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .networks import Discriminator, Generator, Scored

        if (several := len(self.privileged.reads)) > 1:
            bench.note(f"features of a network that fuses {several} modalities")
        privileged = bench.frozen(self.privileged)
        width = privileged.head.in_features
        generator = Generator(self.target, bench.encoder(self.target), width, self.noise)
        student = Scored(generator, pm.Frozen(copy.deepcopy(privileged.head)))
        if not self.has("cgan"):
            return pm.Nets(student=student, privileged=privileged)
        judge = Discriminator(self.target, bench.encoder(self.target), width)
        return pm.Nets(student=student, discriminator=judge, privileged=privileged)

    def groups(self, nets: pm.Nets) -> Mapping[str, pm.Group]:
        changes = PIX2PIX if self.generator_recipe == "pix2pix" else {}
        groups = {"generator": pm.Group((nets.student,), changes)}
        return (
            groups | {"discriminator": pm.Group((nets.discriminator,), PIX2PIX)}
            if self.has("cgan")
            else groups
        )

    def update(self, nets: pm.Nets, batch: pm.Batch, step: pm.Step) -> None:
        f_m, out = nets.privileged(batch).pooled.detach(), nets.student(batch)
        if self.has("cgan"):
            step(self.judgement(nets, batch, f_m, out.pooled), "discriminator")
        step(self.generation(nets, batch, f_m, out), "generator")

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        return self.generation(nets, batch, nets.privileged(batch).pooled.detach(), nets.student(batch))

    def judgement(self, nets: pm.Nets, batch: pm.Batch, f_m: Tensor, f_g: Tensor) -> pm.Terms:
        """The two halves of L_D; F_M and F_G (B, k) are detached."""
        from .losses import takes_for_fake, takes_for_real

        judge = cast("Discriminator", nets.discriminator)
        paired, seen = self._paired(batch), judge.seen(batch)
        real = judge.verdict(seen[paired], f_m[paired].detach())
        fake = judge.verdict(seen, f_g.detach())
        return {"judge_real": takes_for_real(real), "judge_fake": takes_for_fake(fake)}

    def generation(self, nets: pm.Nets, batch: pm.Batch, f_m: Tensor, out: pm.Output) -> pm.Terms:
        """G's terms; `out` holds F_G and what C_A says of it."""
        from .losses import class_sum, deception, decorrelation_sum, l2_sum

        terms, paired = {}, self._paired(batch)
        if self.has("cgan"):
            judge = cast("Discriminator", nets.discriminator)
            verdict = judge.verdict(judge.seen(batch).detach(), out.pooled)
            terms["deceive"] = deception(verdict, self.saturating)
        if self.has("cls"):
            terms["classes"] = self.alpha * class_sum(out.logits, batch.labels)
        if self.has("l2"):
            terms["l2"] = self.beta * l2_sum(f_m[paired], out.pooled[paired])
        if self.has("dcor"):
            terms["dcor"] = self.gamma * decorrelation_sum(f_m[paired], out.pooled[paired], self.dcor)
        return terms

    def _paired(self, batch: pm.Batch) -> Tensor:
        return batch.present(*self.privileged.reads)


@dataclass(frozen=True)
class Rescore(pm.Stage):
    """C_B: the classifier C_A, fine-tuned with cross-entropy on what a finished generator makes of x_t."""

    generated: Generate

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.generated.target,)

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .networks import Scored

        finished: Any = bench.frozen(self.generated)
        head = copy.deepcopy(finished.head.network).requires_grad_(True)
        return pm.Nets(student=Scored(pm.Frozen(finished.generator), head))

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        return {"ce": pm.cross_entropy(nets.student(batch).logits, batch.labels)}
