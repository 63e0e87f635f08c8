"""Stages of the contrastive methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pmbench as pm

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class BankOptions(pm.Options):
    teacher: Literal["fused", "privileged"] = pm.option(
        "fused", "the teacher sees all modalities, or the privileged ones alone"
    )
    width: int = pm.option(128, "width of the compared vectors", within="[1, inf)")
    momentum: float = pm.option(0.5, "part of the old vector that a bank keeps", within="[0, 1)")


class Contrasted(pm.TeacherStudent):
    """CE(z_s, y) over labelled samples, plus terms over those that have every modality of the teacher.

    The modules that `beside` makes hold one vector of each training sample.
    """

    in_batch = True  # a memory bank, which each device would have for itself

    def build(self, bench: pm.Bench) -> pm.Nets:
        nets = super().build(bench)
        widths = (nets.student.head.in_features, nets.teacher.head.in_features)
        for name, module in self.beside(widths, bench.labels).items():
            nets.add_module(name, module)
        return nets

    def beside(self, widths: tuple[int, int], labels: Tensor) -> Mapping[str, Any]:
        """Modules for pooled features of these widths (student, teacher), by name."""
        raise NotImplementedError


@dataclass(frozen=True)
class CrdOptions(BankOptions):
    weight: float = pm.option(0.8, "weight of the contrast", within="[0, inf)")
    soft: float = pm.option(0.0, "weight of the softened logits, at temperature 4", within="[0, inf)")
    tau: float = pm.option(0.07, "temperature of the contrast", within="(0, inf)")
    negatives: int = pm.option(16384, "largest number of negatives of a sample", within="[1, inf)")


@dataclass(frozen=True)
class Crd(Contrasted):
    """CE + weight L_crd(student, teacher) + soft KL_4: contrast of pooled features with memory banks."""

    options: CrdOptions = CrdOptions()

    def beside(self, widths: tuple[int, int], labels: Tensor) -> Mapping[str, Any]:
        from .networks import Contrast

        o = self.options
        return {"contrast": Contrast(widths, labels, o.width, o.momentum, o.tau, o.negatives)}

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        o, taught = self.options, self.taught(batch)
        student, teacher = nets.student(batch), nets.teacher(batch)
        pair = student.pooled[taught], teacher.pooled[taught].detach()
        contrast = nets.contrast(pair, batch.index[taught], batch.epoch > 0)
        terms = {"ce": pm.cross_entropy(student.logits, batch.labels), "contrast": o.weight * contrast}
        if o.soft:
            terms["soft"] = o.soft * pm.kl_divergence(teacher.logits[taught], student.logits[taught], 4.0)
        return terms


@dataclass(frozen=True)
class CrcdOptions(BankOptions):
    weight: float = pm.option(1.0, "weight of the relations of features", within="[0, inf)")
    gradients: float = pm.option(1.0, "weight of the relations of gradients; 0: none", within="[0, inf)")
    soft: float = pm.option(0.9, "weight of the softened logits, at temperature 4", within="[0, inf)")
    tau: float = pm.option(0.05, "temperature of the contrast", within="(0, inf)")
    negatives: int = pm.option(500, "largest number of negatives of a sample", within="[1, inf)")
    until: float = pm.option(0.96, "part of training after which CE is alone", within="[0, 1]")


@dataclass(frozen=True)
class Crcd(Contrasted):
    """CE + soft KL_4 + weight L_rel(features) + gradients L_rel(gradients); CE alone at the end of training.

    L_rel contrasts directions from anchors to samples (arXiv:2103.16367). A gradient is the direction of
    dCE/dphi of a labelled sample with respect to the pooled features of its network.
    """

    options: CrcdOptions = CrcdOptions()

    def beside(self, widths: tuple[int, int], labels: Tensor) -> Mapping[str, Any]:
        from .networks import Relations

        o = self.options
        names = ("relations", "gradients") if o.gradients else ("relations",)
        return {n: Relations(widths, labels, o.width, o.momentum, o.tau, o.negatives) for n in names}

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        from .losses import directions_of_descent

        o, taught = self.options, self.taught(batch)
        student, teacher = nets.student(batch), nets.teacher(batch)
        terms = {"ce": pm.cross_entropy(student.logits, batch.labels)}
        if batch.progress >= o.until:
            return terms
        settled = batch.epoch > 0
        pair = student.pooled[taught], teacher.pooled[taught].detach()
        terms["soft"] = o.soft * pm.kl_divergence(teacher.logits[taught], student.logits[taught], 4.0)
        terms["relations"] = o.weight * nets.relations(pair, batch.index[taught], settled)
        if o.gradients:
            known = taught & batch.labelled
            own, theirs = (
                directions_of_descent(out.logits[known], batch.labels[known], net.head.weight)
                for out, net in ((student, nets.student), (teacher, nets.teacher))
            )
            found = nets.gradients((own, theirs.detach()), batch.index[known], settled)
            terms["gradients"] = o.gradients * found
        return terms


@dataclass(frozen=True)
class WcordOptions(BankOptions):
    dual: float = pm.option(0.8, "weight of the distance to unpaired samples", within="[0, inf)")
    primal: float = pm.option(0.05, "weight of the transport within a batch", within="[0, inf)")
    negatives: int = pm.option(16384, "largest number of negatives of a sample", within="[1, inf)")
    negative_weight: Literal["one", "count"] = pm.option(
        "one", "weight of the mean over negatives: 1, or their number"
    )
    epsilon: float = pm.option(0.1, "weight of the plan's entropy", within="(0, inf)")
    rounds: int = pm.option(50, "rounds of Sinkhorn's algorithm", within="[1, inf)")


@dataclass(frozen=True)
class Wcord(Contrasted):
    """CE - dual (E_pairs f - E_unpaired f) + primal <plan, 1 - cos> (arXiv:2012.08674).

    f is a 1-Lipschitz critic of (student, teacher); its negatives come from memory banks. The plan transports
    the batch's student vectors to its teacher vectors.
    """

    options: WcordOptions = WcordOptions()

    def beside(self, widths: tuple[int, int], labels: Tensor) -> Mapping[str, Any]:
        from .networks import Critic

        return {"critic": Critic(widths, labels, self.options.width, self.options.momentum)}

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        from .losses import transported

        o, taught, critic = self.options, self.taught(batch), nets.critic
        student, teacher = nets.student(batch), nets.teacher(batch)
        vectors = critic((student.pooled[taught], teacher.pooled[taught].detach()))
        terms = {"ce": pm.cross_entropy(student.logits, batch.labels)}
        if o.dual:
            by_count = o.negative_weight == "count"
            distance = critic.distance(vectors, batch.index[taught], o.negatives, batch.epoch > 0, by_count)
            terms["dual"] = -o.dual * distance
        if o.primal:
            terms["primal"] = o.primal * transported(*vectors, o.epsilon, o.rounds)
        return terms


@dataclass(frozen=True)
class CclOptions(pm.Options):
    tau: float = pm.option(0.5, "temperature of the contrast", within="(0, inf)")
    divergence: float = pm.option(
        0.5, "weight of the divergence of student and composition", within="[0, inf)"
    )


@dataclass(frozen=True)
class Ccl(pm.Stage):
    """Compositional contrastive learning (arXiv:2104.10955): s = f_t(x_t), a = f_p(x_p) frozen, c of a and s.

    In every batch first the compositions take a step on

        CE(c) + NCE(s, c) + NCE(c, a) + divergence (KL(z_s||z_c) + KL(z_c||z_s))

    and then the student one on CE(s) + sum over the privileged modalities of the same with NCE(s, a). CE(s)
    runs over labelled samples, the other terms over those that have every privileged modality.
    """

    target: str
    privileged: tuple[pm.Stage, ...]
    options: CclOptions = CclOptions()

    handles = frozenset({"unlabelled", "unpaired"})
    in_batch = True

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.target, *(m for stage in self.privileged for m in stage.reads))

    def build(self, bench: pm.Bench) -> pm.Nets:
        from torch import nn

        from .networks import Composition

        student = bench.classifier(self.target)
        width = student.head.in_features
        found = [Composition(bench.frozen(stage), width, bench.head(width)) for stage in self.privileged]
        return pm.Nets(student=student, compositions=nn.ModuleList(found))

    def groups(self, nets: pm.Nets) -> dict[str, pm.Group]:
        return {"main": pm.Group((nets.student,)), "compositions": pm.Group((nets.compositions,))}

    def update(self, nets: pm.Nets, batch: pm.Batch, step: pm.Step) -> None:
        from .losses import both_ways, divergence, same_class

        o, out, paired = self.options, nets.student(batch), batch.present(*self.reads)
        compositions: Any = nets.compositions
        s, z_s, y = out.pooled[paired], out.logits[paired], batch.labels[paired]
        alike = same_class(y)
        pooled = [c.privileged(batch).pooled[paired].detach() for c in compositions]

        def terms(s: Tensor, z_s: Tensor, of_student: bool) -> dict[str, Tensor]:
            found = dict.fromkeys(("composed", "privileged", "divergence"), 0 * s.sum())
            for composition, of_privileged in zip(compositions, pooled, strict=True):
                a, c, z_c = composition(of_privileged, s)
                found["composed"] = found["composed"] + both_ways(s, c, alike, o.tau)
                found["privileged"] = found["privileged"] + both_ways(s if of_student else c, a, alike, o.tau)
                found["divergence"] = found["divergence"] + o.divergence * divergence(z_s, z_c)
                if not of_student:
                    found["ce"] = found.get("ce", 0 * s.sum()) + pm.cross_entropy(z_c, y)
            return found

        composed = terms(s.detach(), z_s.detach(), of_student=False)
        step({f"composition_{name}": value for name, value in composed.items()}, "compositions")
        step({"ce": pm.cross_entropy(out.logits, batch.labels), **terms(s, z_s, of_student=True)})


@dataclass(frozen=True)
class GmcOptions(pm.Options):
    tau: float = pm.option(0.3, "temperature of the contrast", within="(0, inf)")
    dim: int | None = pm.option(
        None, "width of the vectors; none: that of the target's pooled vector", within="[1, inf)"
    )


@dataclass(frozen=True)
class Gmc(pm.Stage):
    """Geometric multimodal contrast (arXiv:2202.03390): CE(cls(z_J), y) + sum_m NTXent(z_J, z_m).

    z_m, z_J: an encoder of modality m, or of all of them, and then one shared layer to unit vectors. At test
    the classifier, which has seen z_J alone, is given the mean of the target modalities' z_m.
    """

    target: tuple[str, ...]
    privileged: tuple[str, ...]
    options: GmcOptions = GmcOptions()

    handles = frozenset({"unlabelled"})
    in_batch = True

    @property
    def reads(self) -> tuple[str, ...]:
        return (*self.target, *self.privileged)

    def build(self, bench: pm.Bench) -> pm.Nets:
        from torch import nn

        from .networks import Aligned, Aligner

        encoders = {m: bench.encoder(m) for m in self.reads}
        width = self.options.dim or encoders[self.target[0]].features
        aligned = {m: Aligned(e, e.features, width) for m, e in encoders.items()}
        joint = bench.fusion(*self.reads)
        joint_width = joint.head.in_features
        joint.head = nn.Identity()
        return pm.Nets(
            student=Aligner({m: aligned[m] for m in self.target}, width, bench.head(width)),
            privileged=nn.ModuleDict({m: aligned[m] for m in self.privileged}),
            joint=Aligned(joint, joint_width, width),
        )

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        from .losses import nt_xent

        student: Any = nets.student
        privileged: Any = nets.privileged
        single = student.z(batch) | {m: student.shared(e(batch[m])) for m, e in privileged.items()}
        joint = student.shared(nets.joint(batch))
        contrast = [nt_xent(joint, z, self.options.tau) for z in single.values()]
        return {
            "ce": pm.cross_entropy(student.classify(joint), batch.labels),
            "contrast": sum(contrast[1:], contrast[0]),
        }
