"""The stages that most methods start from: streams, fusion networks, plain distillation and its controls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pmbench as pm


@dataclass(frozen=True)
class Stream(pm.Stage):
    """A unimodal network trained alone with cross-entropy.

    With `bottleneck`, a linear layer of that width and a ReLU stand between pooled features and head.
    """

    modality: str
    bottleneck: int | None = None

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.modality,)

    def build(self, bench: pm.Bench) -> pm.Nets:
        return pm.Nets(student=bench.classifier(self.modality, bottleneck=self.bottleneck))

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        return {"ce": pm.cross_entropy(nets.student(batch).logits, batch.labels)}


@dataclass(frozen=True)
class EarlyFusion(pm.Stage):
    """One network over several modalities, trained from scratch with cross-entropy: trunks, then one."""

    modalities: tuple[str, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        return self.modalities

    def build(self, bench: pm.Bench) -> pm.Nets:
        return pm.Nets(student=bench.fusion(*self.modalities))

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        return {"ce": pm.cross_entropy(nets.student(batch).logits, batch.labels)}


@dataclass(frozen=True)
class LateFusion(pm.Stage):
    """Finished networks side by side, their logits averaged, nothing trained."""

    streams: tuple[pm.Stage, ...]

    trains = False

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(m for stream in self.streams for m in stream.reads))

    def build(self, bench: pm.Bench) -> pm.Nets:
        return pm.Nets(student=pm.Mean(*(bench.frozen(stream) for stream in self.streams)))


@dataclass(frozen=True)
class JointLateFusion(pm.Stage):
    """The same, fine-tuned together with cross-entropy on the mean of the logits."""

    streams: tuple[pm.Stage, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        return LateFusion(self.streams).reads

    def build(self, bench: pm.Bench) -> pm.Nets:
        return pm.Nets(student=pm.Mean(*(bench.trainable(stream) for stream in self.streams)))

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        return {"ce": pm.cross_entropy(nets.student(batch).logits, batch.labels)}


def trained_on(*modalities: str, replica: int = 0) -> pm.Stage:
    """The plain supervised network on `modalities`: a stream for one, early fusion for several."""
    if not modalities:
        raise pm.Unsupported("needs at least one modality to train on, this setting has none privileged")
    if len(modalities) == 1:
        return Stream(modalities[0], replica=replica)
    return EarlyFusion(modalities, replica=replica)


@dataclass(frozen=True)
class DistillOptions(pm.Options):
    """The defaults are those of github.com/HobbitLong/RepDistiller."""

    temperature: float = pm.option(4.0, "temperature of the softened logits", within="(0, inf)")
    imitation: float = pm.option(0.9, "weight of the soft term; the labels have 1 minus it", within="[0, 1]")


@dataclass(frozen=True)
class Distill(pm.Stage):
    """Student on `target` that matches the tempered logits of a frozen teacher (arXiv:1503.02531).

    (1-l) CE(z_s, y) + l T^2 KL(softmax(z_T/T) || softmax(z_s/T)), with l = `imitation` and T = `temperature`.
    CE runs over the labelled samples, KL over those that have every modality the teacher reads.
    """

    teacher: pm.Stage
    target: tuple[str, ...]
    options: DistillOptions = DistillOptions()

    handles = frozenset({"unlabelled", "unpaired"})

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.target, *self.teacher.reads)))

    def build(self, bench: pm.Bench) -> pm.Nets:
        return pm.Nets(student=untrained(bench, self.target), teacher=bench.frozen(self.teacher))

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        student, teacher = nets.student(batch).logits, nets.teacher(batch).logits
        taught = batch.present(*self.teacher.reads)
        imitation, temperature = self.options.imitation, self.options.temperature
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
class PseudoLabel(pm.Stage):
    """Student on `target`, trained on true labels and, where there is none, on what a frozen teacher says.

    CE(z_s, y) over labelled samples + CE(z_s, argmax z_T) over the others (`labels` "hard"), or the
    cross-entropy with softmax(z_T) ("soft"): each a mean, so that a batch of equal halves weighs all its
    samples alike. An unlabelled sample counts if it has every modality the teacher reads and, with
    `threshold`, if the teacher's largest probability reaches it.
    """

    teacher: pm.Stage
    target: tuple[str, ...]
    options: PseudoLabelOptions = PseudoLabelOptions()

    handles = frozenset({"unlabelled", "unpaired"})

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.target, *self.teacher.reads)))

    def build(self, bench: pm.Bench) -> pm.Nets:
        return pm.Nets(student=untrained(bench, self.target), teacher=bench.frozen(self.teacher))

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        student, teacher = nets.student(batch).logits, nets.teacher(batch).logits
        confidence, guess = teacher.softmax(1).max(1)
        asked = ~batch.labelled & batch.present(*self.teacher.reads)
        if self.options.threshold is not None:
            asked = asked & (confidence >= self.options.threshold)
        if self.options.labels == "hard":
            pseudo = pm.cross_entropy(student, guess.masked_fill(~asked, -1))
        else:
            pseudo = pm.soft_cross_entropy(teacher[asked], student[asked], 1.0)
        return {"ce": pm.cross_entropy(student, batch.labels), "pseudo": pseudo}


def untrained(bench: pm.Bench, modalities: tuple[str, ...]) -> pm.Classifier | pm.Fusion:
    """The network that `trained_on(*modalities)` starts from."""
    return bench.classifier(modalities[0]) if len(modalities) == 1 else bench.fusion(*modalities)
