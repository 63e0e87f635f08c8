"""Stages of cgan: the game between generator and discriminator, and the classifier fine-tuned afterwards."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pmbench as pm

if TYPE_CHECKING:
    from torch import Tensor

Variant = Literal["cgan", "cgan+cls", "cgan+cls+l2", "cgan+l2", "cls+l2", "l2", "dcor+cls", "cgan+dcor+cls"]

PIX2PIX = {"optimizer": "adam", "lr": 2e-4, "beta1": 0.5, "weight_decay": 0.0}
"""Adam as in arXiv:1611.07004; the paper names no optimiser."""


@dataclass(frozen=True)
class GenerateOptions(pm.Options):
    variant: Variant = pm.option("cgan+cls+l2", "terms of the generator's loss, as in the rows of table 1")
    alpha: float = pm.option(1e-3, "weight of the class term, times the batch size", within="[0, inf)")
    beta: float = pm.option(1e-5, "weight of the L2 term, times the batch size", within="[0, inf)")
    gamma: float = pm.option(1e-3, "weight of the dcor term, times the batch size", within="[0, inf)")
    saturating: bool = pm.option(False, "the generator minimises log(1 - D), as eq. 1 has it, not -log D")
    dcor: Literal["biased", "u"] = pm.option("biased", "the V-statistic, or that of U-centered distances")
    noise: float = pm.option(0.5, "dropout rate in the generator; 0 for none", within="[0, 1)")
    generator_recipe: Literal["standard", "pix2pix"] = pm.option(
        "standard", "pix2pix: the discriminator's Adam"
    )


@dataclass(frozen=True)
class Generate(pm.Stage):
    """G generates from `target` the features F_M of a finished privileged network; D judges pairs (x_t, F).

    F_M = M(x_p) and C_A are the pooled vector and the head of `privileged`, both frozen; F_G = G(z, x_t). In
    every batch D minimises

        L_D = -E log D(x_t, F_M) - E log(1 - D(x_t, sg F_G))

    and then G the sum of the terms that `variant` names (eq. 4 of arXiv:1807.07682):

        cgan  -E log D(x_t, F_G)                     or E log(1 - D(x_t, F_G)) if `saturating`
        cls   alpha B mean_i CE(C_A(F_G,i), y_i)     over labelled samples
        l2    beta B mean_i |F_M,i - F_G,i|^2        over samples that have every privileged modality
        dcor  gamma B (1 - dCor(F_M, F_G))           over the same

    Without "cgan" there is no D. E is a mean over samples; terms with F_M skip the samples that lack it. B is
    the batch size: where all samples are labelled and paired these are the paper's sums, where some are not
    a term keeps its weight.
    Delivered: C_A(G(x_t)), without z.
    """

    privileged: pm.Stage
    target: str
    options: GenerateOptions = GenerateOptions()

    handles = frozenset({"unlabelled", "unpaired"})
    in_batch = True  # sums over samples, and distance correlation

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.target, *self.privileged.reads)

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .networks import Discriminator, Generator, Scored

        if (several := len(self.privileged.reads)) > 1:
            bench.note(f"features of a network that fuses {several} modalities")
        privileged = bench.frozen(self.privileged)
        width = privileged.head.in_features
        generator = Generator(self.target, bench.encoder(self.target), width, self.options.noise)
        nets = pm.Nets(student=Scored(generator, pm.Frozen(copy.deepcopy(privileged.head))))
        if "cgan" in self.options.variant:
            nets.discriminator = Discriminator(self.target, bench.encoder(self.target), width)
        nets.privileged = privileged
        return nets

    def groups(self, nets: pm.Nets) -> dict[str, pm.Group]:
        own = PIX2PIX if self.options.generator_recipe == "pix2pix" else {}
        groups = {"generator": pm.Group((nets.student,), own)}
        if "cgan" in self.options.variant:
            groups["discriminator"] = pm.Group((nets.discriminator,), PIX2PIX)
        return groups

    def update(self, nets: pm.Nets, batch: pm.Batch, step: pm.Step) -> None:
        from . import losses

        o, terms, paired = self.options, {}, batch.present(*self.privileged.reads)
        labelled, pairs = _completed(batch.labels >= 0), _completed(paired)
        f_m, out = nets.privileged(batch).pooled[paired], nets.student(batch)
        if "cgan" in o.variant:
            judge: Any = nets.discriminator
            seen = judge.seen(batch)
            real, fake = judge(seen[paired], f_m), judge(seen, out.pooled.detach())
            step({"judge_real": losses.is_real(real), "judge_fake": losses.is_fake(fake)}, "discriminator")
            verdict = judge(judge.seen(batch).detach(), out.pooled)
            terms["deceive"] = -losses.is_fake(verdict) if o.saturating else losses.is_real(verdict)
        if "cls" in o.variant:
            terms["classes"] = o.alpha * labelled * losses.class_sum(out.logits, batch.labels)
        if "l2" in o.variant:
            terms["l2"] = o.beta * pairs * losses.l2_sum(f_m, out.pooled[paired])
        if "dcor" in o.variant:
            terms["dcor"] = o.gamma * pairs * losses.decorrelation_sum(f_m, out.pooled[paired], o.dcor)
        step(terms, "generator")


def _completed(known: Tensor) -> Tensor:
    """B / n for n known samples of B: it makes a sum over them that over a batch in which all are known."""
    return len(known) / known.sum().clamp(min=1)


@dataclass(frozen=True)
class Rescore(pm.Stage):
    """C_B: the classifier C_A, fine-tuned with cross-entropy on the features that a finished G generates."""

    generated: Generate

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.generated.target,)

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .networks import Scored

        finished = bench.frozen(self.generated)
        head = copy.deepcopy(finished.head.network).requires_grad_(True)
        return pm.Nets(student=Scored(pm.Frozen(finished.generator), head))

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        return {"ce": pm.cross_entropy(nets.student(batch).logits, batch.labels)}
