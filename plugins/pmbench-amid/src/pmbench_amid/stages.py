"""Adversarial mutual information distillation: student and composed teacher, trained at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, cast

import pmbench as pm

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .networks import Composition, Discriminators


@dataclass(frozen=True)
class Compose(pm.Stage):
    """The composed teacher alone: CE(cls(M), y), with M = MLP2([S|A...]), S = E_t(x_t), A = E_a(x_a)."""

    target: str
    auxiliaries: tuple[pm.Stage, ...]
    dim: int | None = None

    @property
    def reads(self) -> tuple[str, ...]:
        return _reads(self.target, self.auxiliaries)

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .networks import Composed

        student = _student(bench, self.target, self.dim)
        composition = _composition(bench, self.auxiliaries, student.head.in_features)
        return pm.Nets(student=Composed(student, composition))

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        return {"ce": pm.cross_entropy(nets.student(batch).logits, batch.labels)}


class Views(NamedTuple):
    """What one batch looks like: of all samples, then of the n that have every privileged modality."""

    logits: Tensor
    paired: Tensor
    labels: Tensor
    s: Tensor
    a: list[Tensor]
    m: Tensor
    student: Tensor
    teacher: Tensor


@dataclass(frozen=True)
class Amid(pm.Stage):
    """S = E_t(x_t), A = E_a(x_a) frozen, M = MLP2([S|A]), one classifier `cls` for S and M.

    CE(cls(S)) + CE(cls(M)) + JSD(cls(S), cls(M)), eq. 15 and 16; after the warm-up also
    alpha1 L_MI(M, S) + alpha2 mean_a L_MI(M, A_a) + alpha3 L_adv(S), eq. 7 to 9 and 12, following a step of
    the discriminators on eq. 13. Warm-up lasts while epoch < `warmup_epochs` and progress < `warmup`.

    M carries gradients everywhere but in the discriminators' step, so that the teacher learns from every term
    it is in, and E_t through it. `teacher` "detached" stops them in L_MI(M, S) and JSD. With `fixed`, a
    finished `Compose`, M and its logits are constants, and terms without S are gone.

    CE runs over labelled samples, terms with M or A over those that have every privileged modality, classes
    of pairs are known of labelled samples alone: an unlabelled one is its own and only positive.
    """

    target: str
    auxiliaries: tuple[pm.Stage, ...]
    dim: int | None = None
    alpha1: float = 4.0
    alpha2: float = 1.6
    alpha3: float = 1.0
    tau: float = 0.5
    mi: str = "bound"
    mi_reduction: str = "auto"
    jsd: str = "lin"
    warmup: float = 1 / 3
    warmup_epochs: int = 20
    teacher: str = "online"
    fixed: pm.Stage | None = None
    second_discriminator: bool = True
    dynamic_weights: bool = True
    beta: float = 0.9
    discriminator_lr: float = 1e-4

    handles = frozenset({"unlabelled", "unpaired"})

    def __post_init__(self) -> None:
        pm.require_in("(0, inf)", tau=self.tau)
        pm.require_in("[0, inf)", alpha1=self.alpha1, alpha2=self.alpha2, alpha3=self.alpha3)
        pm.require_in("[0, 1]", beta=self.beta, warmup=self.warmup)
        pm.require_in("[0, inf)", warmup_epochs=self.warmup_epochs)
        pm.require_in("[1, inf)", dim=self.dim)

    @property
    def reads(self) -> tuple[str, ...]:
        return _reads(self.target, self.auxiliaries)

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .networks import Discriminators

        if (several := len(self.auxiliaries)) > 1:
            bench.note(f"L_MIa is the mean over {several} privileged modalities")
        student = _student(bench, self.target, self.dim)
        width = student.head.in_features
        networks: dict[str, nn.Module] = {"student": student}
        if self.fixed is None:
            networks["composition"] = _composition(bench, self.auxiliaries, width)
        else:
            networks["teacher"] = bench.frozen(self.fixed)
        if self.alpha3:
            dynamic = self.dynamic_weights
            networks["discriminators"] = Discriminators(width, self.second_discriminator, dynamic)
        return pm.Nets(**networks)

    def groups(self, nets: pm.Nets) -> dict[str, pm.Group]:
        main = (nets.student, *(() if self.fixed else (nets.composition,)))
        if not self.alpha3:
            return {"main": pm.Group(main)}
        own = {"optimizer": "adam", "lr": self.discriminator_lr, "weight_decay": 0.0}
        return {"main": pm.Group(main), "discriminators": pm.Group((nets.discriminators,), own)}

    def update(self, nets: pm.Nets, batch: pm.Batch, step: pm.Step) -> None:
        from .losses import discrimination

        views = self.views(nets, batch)
        if self.alpha3:
            judges = _discriminators(nets)
            judges.observe(views.m, views.s, views.labels)
            if not self.warming(batch):
                step(discrimination(judges, views.m, views.s, views.labels), "discriminators")
        step(self.terms(nets, batch, views))

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        return self.terms(nets, batch, self.views(nets, batch))

    def end_epoch(self, nets: pm.Nets) -> None:
        if self.alpha3:
            _discriminators(nets).end_epoch(self.beta)

    def warming(self, batch: pm.Batch) -> bool:
        """Whether this batch is in the warm-up: the first min(`warmup_epochs`, `warmup` * epochs) epochs."""
        return batch.epoch < self.warmup_epochs and batch.progress < self.warmup

    def views(self, nets: pm.Nets, batch: pm.Batch) -> Views:
        """One pass through the networks."""
        out = nets.student(batch)
        paired = batch.present(*self.reads)
        s, a = out.pooled[paired], []
        if self.fixed is None:
            composition, student = cast("Composition", nets.composition), cast("pm.Classifier", nets.student)
            a = [x[paired] for x in composition.auxiliary(batch)]
            m = composition(s, a)
            taught = student.head(m)
        else:
            teacher = nets.teacher(batch)
            m, taught = teacher.pooled[paired], teacher.logits[paired]
        return Views(out.logits, paired, batch.labels[paired], s, a, m, out.logits[paired], taught)

    def terms(self, nets: pm.Nets, batch: pm.Batch, views: Views) -> pm.Terms:
        """Eq. 17, term by term, without those whose weight is 0."""
        from .losses import adversarial, jsd, mi_bound, nce, positives

        v, mean = views, self.takes_mean(*views.logits.shape)
        still = self.teacher == "detached"
        m, taught = (v.m.detach(), v.teacher.detach()) if still else (v.m, v.teacher)
        terms = {"ce_student": pm.cross_entropy(v.logits, batch.labels)}
        if self.fixed is None:
            terms["ce_teacher"] = pm.cross_entropy(v.teacher, v.labels)
        terms["jsd"] = jsd(v.student, taught, self.jsd)
        if self.warming(batch):
            return terms

        def information(teacher: Tensor, other: Tensor) -> Tensor:
            positive = positives(v.labels)
            if self.mi == "nce":
                return nce(teacher, other, positive, self.tau)
            return mi_bound(teacher, other, positive, self.tau, mean)

        if self.alpha1:
            terms["mi_student"] = self.alpha1 * information(m, v.s)
        if self.alpha2 and v.a:
            each = [information(v.m, a) for a in v.a]
            terms["mi_auxiliary"] = self.alpha2 * sum(each[1:], each[0]) / len(each)
        if self.alpha3:
            terms["adversarial"] = self.alpha3 * adversarial(_discriminators(nets), v.s, v.labels)
        return terms

    def takes_mean(self, batch_size: int, num_classes: int) -> bool:
        """Whether L_MI is divided by n once more; "auto": where k > 2 is expected of equal classes."""
        if self.mi_reduction == "auto":
            return 1 + (batch_size - 1) / num_classes > 2
        return self.mi_reduction == "mean"


def _discriminators(nets: pm.Nets) -> Discriminators:
    return cast("Discriminators", nets.discriminators)


def _reads(target: str, auxiliaries: tuple[pm.Stage, ...]) -> tuple[str, ...]:
    return (target, *(m for stage in auxiliaries for m in stage.reads))


def _student(bench: pm.Bench, target: str, dim: int | None) -> pm.Classifier:
    """The target's classifier; where its pooled vector is not `dim` wide, with a linear layer to `dim`."""
    from .networks import with_width

    plain = bench.classifier(target)
    return plain if dim in (None, plain.head.in_features) else with_width(plain, bench.head(dim))


def _composition(bench: pm.Bench, auxiliaries: tuple[pm.Stage, ...], width: int) -> Composition:
    from .networks import Composition

    return Composition([bench.frozen(stage) for stage in auxiliaries], width)
