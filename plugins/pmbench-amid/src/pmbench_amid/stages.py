"""Adversarial mutual information distillation: student and composed teacher, trained at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import pmbench as pm

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class ComposeOptions(pm.Options):
    dim: int | None = pm.option(
        None, "width of all representations; none: that of the student's pooled vector", within="[1, inf)"
    )


@dataclass(frozen=True)
class AmidOptions(ComposeOptions):
    alpha1: float = pm.option(4.0, "weight of the bound with student features", within="[0, inf)")
    alpha2: float = pm.option(1.6, "weight of the bound with privileged features", within="[0, inf)")
    alpha3: float = pm.option(1.0, "weight of the adversarial term; 0: no discriminators", within="[0, inf)")
    tau: float = pm.option(0.5, "temperature of the bounds", within="(0, inf)")
    mi: Literal["bound", "nce"] = pm.option("bound", "the bound of eq. 8, or the pairwise loss of CCL")
    mi_reduction: Literal["auto", "sum", "mean"] = pm.option(
        "auto", "mean: the bound is divided by n once more; auto: if classes are large in a batch"
    )
    jsd: Literal["lin", "ccl"] = pm.option("lin", "Jensen-Shannon divergence, or the symmetric KL of CCL")
    warmup: float = pm.option(1 / 3, "largest part of training that is warm-up", within="[0, 1]")
    warmup_epochs: int = pm.option(20, "largest number of epochs that are warm-up", within="[0, inf)")
    teacher: Literal["online", "detached", "fixed"] = pm.option(
        "online", "detached: does not learn from the student's terms; fixed: trained before the student"
    )
    second_discriminator: bool = pm.option(True, "D2, which compares samples of one class")
    dynamic_weights: bool = pm.option(True, "weights of D1 and D2 follow eq. 14; otherwise 1/2 each")
    beta: float = pm.option(0.9, "momentum of the dynamic weights", within="[0, 1]")
    discriminator_lr: float = pm.option(1e-4, "learning rate of D1 and D2, with Adam")
    samples_per_class: int = pm.option(
        0, "labelled samples of each class in a batch, which D2 pairs; 0: as they come", within="[0, inf)"
    )
    delivers: Literal["student", "teacher"] = pm.option(
        "student", "network that is tested; the teacher is given the privileged modalities too"
    )


@dataclass(frozen=True)
class Compose(pm.Stage):
    """The composed teacher alone: CE(cls(M), y), with M = MLP2([S|A...]), S = E_t(x_t), A = E_a(x_a)."""

    target: str
    auxiliaries: tuple[pm.Stage, ...]
    options: ComposeOptions = ComposeOptions()

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.target, *(m for stage in self.auxiliaries for m in stage.reads))

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .networks import Composed, Composition, classifier

        student = classifier(bench, self.target, self.options.dim)
        extractors = [bench.frozen(stage) for stage in self.auxiliaries]
        return pm.Nets(student=Composed(student, Composition(extractors, student.head.in_features)))

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        return {"ce": pm.cross_entropy(nets.student(batch).logits, batch.labels)}


@dataclass(frozen=True)
class Amid(Compose):
    """S = E_t(x_t), A = E_a(x_a) frozen, M = MLP2([S|A...]), one classifier `cls` for S and M.

    CE(cls(S)) + CE(cls(M)) + JSD(cls(S), cls(M)), eq. 15 and 16; after the warm-up also
    alpha1 L_MI(M, S) + alpha2 mean_a L_MI(M, A_a) + alpha3 L_adv(S), eq. 7 to 9 and 12, each time after a
    step of the discriminators on eq. 13. Warm-up lasts while epoch < `warmup_epochs` and progress < `warmup`.

    M has gradients everywhere but in the discriminators' step, so that the teacher learns from each of its
    terms, and E_t through it. `teacher` "detached" stops them in L_MI(M, S) and JSD. With `fixed`, a finished
    `Compose`, M and its logits are constants, and the terms without S are left out.

    CE runs over labelled samples, terms with M or A over those that have every privileged modality. An
    unlabelled sample has no class: it is its own and only positive.
    """

    options: AmidOptions = AmidOptions()
    fixed: Compose | None = None

    handles = frozenset({"unlabelled", "unpaired"})
    in_batch = True

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .networks import Composition, Discriminators, classifier

        if (several := len(self.auxiliaries)) > 1:
            bench.note(f"L_MIa is the mean over {several} privileged modalities")
        o, student = self.options, classifier(bench, self.target, self.options.dim)
        nets, width = pm.Nets(student=student), student.head.in_features
        if self.fixed:
            nets.teacher = bench.frozen(self.fixed)
        else:
            nets.composition = Composition([bench.frozen(stage) for stage in self.auxiliaries], width)
        if o.alpha3:
            nets.discriminators = Discriminators(width, o.second_discriminator, o.dynamic_weights)
        return nets

    @property
    def samples_per_class(self) -> int:
        return self.options.samples_per_class

    def deliver(self, nets: pm.Nets) -> nn.Module:
        from .networks import Composed

        whole = self.options.delivers == "teacher"
        return Composed(nets.student, nets.composition) if whole else nets.student

    def groups(self, nets: pm.Nets) -> dict[str, pm.Group]:
        groups = {"main": pm.Group((nets.student,) if self.fixed else (nets.student, nets.composition))}
        if self.options.alpha3:
            own = {"optimizer": "adam", "lr": self.options.discriminator_lr, "weight_decay": 0.0}
            groups["discriminators"] = pm.Group((nets.discriminators,), own)
        return groups

    def update(self, nets: pm.Nets, batch: pm.Batch, step: pm.Step) -> None:
        from . import losses

        judges: Any = nets.discriminators if self.options.alpha3 else None
        o, out, paired = self.options, nets.student(batch), batch.present(*self.reads)
        s, z_s, y = out.pooled[paired], out.logits[paired], batch.labels[paired]
        terms = {"ce_student": pm.cross_entropy(out.logits, batch.labels)}
        if self.fixed:
            teacher = nets.teacher(batch)
            m, z_m, auxiliary = teacher.pooled[paired], teacher.logits[paired], []
        else:
            student: Any = nets.student
            composition: Any = nets.composition
            auxiliary = [a[paired] for a in composition.auxiliary(batch)]
            m = composition(s, auxiliary)
            z_m = student.head(m)
            terms["ce_teacher"] = pm.cross_entropy(z_m, y)
        m_s, z_m = (m.detach(), z_m.detach()) if o.teacher == "detached" else (m, z_m)
        terms["jsd"] = losses.jsd(z_s, z_m, o.jsd)
        if judges:
            judges.observe(m, s, y)
        if not self.warming(batch):
            mean, positive = self.takes_mean(*out.logits.shape), losses.positives(y)
            bound = losses.nce if o.mi == "nce" else partial(losses.mi_bound, mean=mean)
            if o.alpha1:
                terms["mi_student"] = o.alpha1 * bound(m_s, s, positive, o.tau)
            if o.alpha2 and auxiliary:
                each = [bound(m, a, positive, o.tau) for a in auxiliary]
                terms["mi_auxiliary"] = o.alpha2 * sum(each[1:], each[0]) / len(each)
            if judges:
                step(judges.discrimination(m, s, y), "discriminators")
                terms["adversarial"] = o.alpha3 * judges.adversarial(s, y)
        step(terms)

    def end_epoch(self, nets: pm.Nets) -> None:
        if self.options.alpha3:
            judges: Any = nets.discriminators
            judges.end_epoch(self.options.beta)

    def warming(self, batch: pm.Batch) -> bool:
        """Whether this batch is in the warm-up: the first min(`warmup_epochs`, `warmup` * epochs) epochs."""
        return batch.epoch < self.options.warmup_epochs and batch.progress < self.options.warmup

    def takes_mean(self, batch_size: int, num_classes: int) -> bool:
        """Whether L_MI is divided by n once more; "auto": if equal classes have over 2 samples in a batch."""
        expected, choice = 1 + (batch_size - 1) / num_classes, self.options.mi_reduction
        return expected > 2 if choice == "auto" else choice == "mean"
