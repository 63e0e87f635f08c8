"""Stages that most methods start from: streams, fusion networks, distillation, pseudo-labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pmbench as pm

if TYPE_CHECKING:
    from torch import Tensor


class Supervised(pm.Stage):
    """A network trained alone with cross-entropy on the labelled samples."""

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        return {"ce": pm.cross_entropy(nets.student(batch).logits, batch.labels)}


@dataclass(frozen=True)
class Stream(Supervised):
    """A unimodal network trained alone.

    `bottleneck` adds a linear layer of that width and a ReLU between the pooled features and the head.
    """

    modality: str
    bottleneck: int | None = None

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.modality,)

    def build(self, bench: pm.Bench) -> pm.Nets:
        return pm.Nets(student=bench.classifier(self.modality, bottleneck=self.bottleneck))


@dataclass(frozen=True)
class EarlyFusion(Supervised):
    """One network over several modalities: a trunk for each, then one trunk over their joined maps."""

    modalities: tuple[str, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        return self.modalities

    def build(self, bench: pm.Bench) -> pm.Nets:
        return pm.Nets(student=bench.fusion(*self.modalities))


@dataclass(frozen=True)
class LateFusion(pm.Stage):
    """The mean of the logits of finished networks. Nothing is trained."""

    streams: tuple[pm.Stage, ...]

    trains = False

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(m for stream in self.streams for m in stream.reads))

    def build(self, bench: pm.Bench) -> pm.Nets:
        return pm.Nets(student=pm.Mean(*(bench.frozen(stream) for stream in self.streams)))


@dataclass(frozen=True)
class JointLateFusion(Supervised):
    """Finished networks fine-tuned together on the mean of their logits."""

    streams: tuple[pm.Stage, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        return LateFusion(self.streams).reads

    def build(self, bench: pm.Bench) -> pm.Nets:
        return pm.Nets(student=pm.Mean(*(bench.trainable(stream) for stream in self.streams)))


def trained_on(*modalities: str, replica: int = 0) -> pm.Stage:
    """The plain supervised network on `modalities`: a stream for one, early fusion for several."""
    if not modalities:
        raise pm.Unsupported("needs at least one modality to train on, this setting has none privileged")
    if len(modalities) == 1:
        return Stream(modalities[0], replica=replica)
    return EarlyFusion(modalities, replica=replica)


TEACHERS = {"fused": "early_fusion", "privileged": "privileged_only"}
"""Teachers of `teacher_of`, with the reference rows that they are."""


def teacher_of(setting: pm.Setting, sees: Literal["fused", "privileged"]) -> pm.Stage:
    """The plain supervised network on all modalities ("fused") or on the privileged ones ("privileged").

    Raises Unsupported for a setting without privileged modality.
    """
    if not setting.privileged:
        raise pm.Unsupported("needs a privileged modality, this setting has none")
    return trained_on(*(setting.all if sees == "fused" else setting.privileged))


@dataclass(frozen=True)
class TeacherStudent(pm.Stage):
    """A student on `target`, trained from scratch beside a frozen teacher.

    It may use unlabelled samples and samples without a privileged modality: `taught` marks those that the
    teacher can read.
    """

    teacher: pm.Stage
    target: tuple[str, ...]

    handles = frozenset({"unlabelled", "unpaired"})

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.target, *self.teacher.reads)))

    def build(self, bench: pm.Bench) -> pm.Nets:
        student = bench.classifier(*self.target) if len(self.target) == 1 else bench.fusion(*self.target)
        return pm.Nets(student=student, teacher=bench.frozen(self.teacher))

    def taught(self, batch: pm.Batch) -> Tensor:
        """(B,) bool: samples that have every modality the teacher reads."""
        return batch.present(*self.teacher.reads)


@dataclass(frozen=True)
class DistillOptions(pm.Options):
    """The defaults are those of github.com/HobbitLong/RepDistiller."""

    temperature: float = pm.option(4.0, "temperature of the softened logits", within="(0, inf)")
    imitation: float = pm.option(0.9, "weight of the soft term; the labels have 1 minus it", within="[0, 1]")


@dataclass(frozen=True)
class Distill(TeacherStudent):
    """Student on `target` that matches the tempered logits of a frozen teacher (arXiv:1503.02531).

    (1-l) CE(z_s, y) + l T^2 KL(softmax(z_T/T) || softmax(z_s/T)), with l = `imitation` and T = `temperature`.
    CE runs over the labelled samples, KL over those that have every modality the teacher reads.
    """

    options: DistillOptions = DistillOptions()

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        student, teacher = nets.student(batch).logits, nets.teacher(batch).logits
        imitation, temperature, taught = self.options.imitation, self.options.temperature, self.taught(batch)
        return {
            "ce": (1 - imitation) * pm.cross_entropy(student, batch.labels),
            "soft": imitation * pm.kl_divergence(teacher[taught], student[taught], temperature),
        }


@dataclass(frozen=True)
class PseudoLabelOptions(pm.Options):
    labels: Literal["hard", "soft"] = pm.option("hard", "the teacher's class, or its probabilities")
    threshold: float | None = pm.option(
        None, "least probability of a teacher's class that counts; none: all count", within="[0, 1]"
    )


@dataclass(frozen=True)
class PseudoLabel(TeacherStudent):
    """Student on `target`, trained on labels and, for unlabelled samples, on a frozen teacher's predictions.

    CE(z_s, y) over labelled samples + CE(z_s, argmax z_T) over the others (`labels` "hard"), or the
    cross-entropy with softmax(z_T) ("soft"). Each term is a mean over its samples. An unlabelled sample
    counts if it has every modality that the teacher reads and if the teacher's largest probability is at
    least `threshold`.
    """

    options: PseudoLabelOptions = PseudoLabelOptions()

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        student, teacher = nets.student(batch).logits, nets.teacher(batch).logits
        confidence, guess = teacher.softmax(1).max(1)
        used = ~batch.labelled & self.taught(batch)
        if self.options.threshold is not None:
            used = used & (confidence >= self.options.threshold)
        if self.options.labels == "hard":
            pseudo = pm.cross_entropy(student, guess.masked_fill(~used, -1))
        else:
            pseudo = pm.soft_cross_entropy(teacher[used], student[used], 1.0)
        return {"ce": pm.cross_entropy(student, batch.labels), "pseudo": pseudo}
