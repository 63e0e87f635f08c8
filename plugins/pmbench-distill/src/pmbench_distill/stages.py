"""Students on the target modality beside a frozen teacher, each with a term of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import pmbench as pm

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class TeacherOptions(pm.Options):
    teacher: Literal["fused", "privileged"] = pm.option(
        "privileged", "the teacher sees all modalities, or the privileged ones alone"
    )


@dataclass(frozen=True)
class FusedOptions(pm.Options):
    teacher: Literal["fused", "privileged"] = pm.option(
        "fused", "the teacher sees all modalities, or the privileged ones alone"
    )


class Hinted(pm.TeacherStudent):
    """CE(z_s, y) over labelled samples, plus `hints` over those that have every modality of the teacher."""

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        student, teacher, taught = nets.student(batch), nets.teacher(batch), self.taught(batch)
        ce = pm.cross_entropy(student.logits, batch.labels)
        return {"ce": ce, **self.hints(nets, only(student, taught), only(teacher, taught), batch)}

    def hints(self, nets: pm.Nets, student: pm.Output, teacher: pm.Output, batch: pm.Batch) -> pm.Terms:
        """Terms from the Outputs of both networks for the taught samples."""
        raise NotImplementedError


def only(output: pm.Output, rows: Tensor) -> pm.Output:
    """The Output of the samples in `rows` (B,) bool."""
    return pm.Output(output.logits[rows], output.pooled[rows], tuple(m[rows] for m in output.maps))


# --- features -----------------------------------------------------------------------------------------------


class Adapted(Hinted):
    """The student's pooled features, through a linear layer where their width is not the teacher's."""

    always: ClassVar[bool] = False

    def build(self, bench: pm.Bench) -> pm.Nets:
        from torch import nn

        nets = super().build(bench)
        own, theirs = nets.student.head.in_features, nets.teacher.head.in_features
        if self.always or own != theirs:
            nets.add_module("regressor", nn.Linear(own, theirs))
        return nets

    def seen(self, nets: pm.Nets, student: pm.Output) -> Tensor:
        return nets.regressor(student.pooled) if hasattr(nets, "regressor") else student.pooled


@dataclass(frozen=True)
class FitnetOptions(TeacherOptions):
    weight: float = pm.option(100.0, "weight of the features", within="[0, inf)")


@dataclass(frozen=True)
class Fitnet(Adapted):
    """CE + weight MSE(r(phi_s), phi_T): pooled features through a learned regressor r (arXiv:1412.6550)."""

    options: FitnetOptions = FitnetOptions()
    always = True

    def hints(self, nets: pm.Nets, student: pm.Output, teacher: pm.Output, batch: pm.Batch) -> pm.Terms:
        return {"features": self.options.weight * pm.mse(self.seen(nets, student), teacher.pooled)}


@dataclass(frozen=True)
class MarsOptions(TeacherOptions):
    weight: float = pm.option(50.0, "weight of the features", within="[0, inf)")


@dataclass(frozen=True)
class Mars(Adapted):
    """CE + weight MSE(phi_s, phi_T) on pooled features (Crasto et al., CVPR 2019)."""

    options: MarsOptions = MarsOptions()

    def hints(self, nets: pm.Nets, student: pm.Output, teacher: pm.Output, batch: pm.Batch) -> pm.Terms:
        return {"features": self.options.weight * pm.mse(self.seen(nets, student), teacher.pooled)}


@dataclass(frozen=True)
class Mers(Mars):
    """weight MSE(phi_s, phi_T) moves the encoder, CE(head(phi_s), y) the head alone."""

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        student, teacher, taught = nets.student(batch), nets.teacher(batch), self.taught(batch)
        features = self.hints(nets, only(student, taught), only(teacher, taught), batch)
        logits = nets.student.head(student.pooled.detach())
        return {"ce": pm.cross_entropy(logits, batch.labels), **features}


@dataclass(frozen=True)
class CmkdOptions(FusedOptions):
    features: float = pm.option(1.0, "weight of the features", within="[0, inf)")
    soft: float = pm.option(1.0, "weight of the softened logits", within="[0, inf)")
    temperature: float = pm.option(2.0, "temperature of the softened logits", within="(0, inf)")


@dataclass(frozen=True)
class Cmkd(Adapted):
    """CE + a MSE(phi_s, phi_T) + b T^2 KL(softmax(z_T/T) || softmax(z_s/T)): features and logits at once."""

    options: CmkdOptions = CmkdOptions()

    def hints(self, nets: pm.Nets, student: pm.Output, teacher: pm.Output, batch: pm.Batch) -> pm.Terms:
        o = self.options
        return {
            "features": o.features * pm.mse(self.seen(nets, student), teacher.pooled),
            "soft": o.soft * pm.kl_divergence(teacher.logits, student.logits, o.temperature),
        }


@dataclass(frozen=True)
class PkdOptions(TeacherOptions):
    weight: float = pm.option(1.0, "weight of the standardized features", within="[0, inf)")


@dataclass(frozen=True)
class Pkd(Adapted):
    """CE + weight times half the MSE of pooled features, standardized over the batch."""

    options: PkdOptions = PkdOptions()
    in_batch = True

    def hints(self, nets: pm.Nets, student: pm.Output, teacher: pm.Output, batch: pm.Batch) -> pm.Terms:
        from .losses import standardized

        return {"features": self.options.weight * standardized(self.seen(nets, student), teacher.pooled)}


@dataclass(frozen=True)
class TakdOptions(FusedOptions, pm.DistillOptions):
    """Those of `kd`, for both distillations."""


@dataclass(frozen=True)
class Follow(pm.Distill):
    """Distillation from an assistant that sees what the student sees, so that every sample is taught."""

    @property
    def reads(self) -> tuple[str, ...]:
        return self.target

    def taught(self, batch: pm.Batch) -> Tensor:
        return batch.present(*self.target)


# --- relations ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RkdOptions(TeacherOptions):
    distance: float = pm.option(25.0, "weight of the distances of pairs", within="[0, inf)")
    angle: float = pm.option(50.0, "weight of the angles of triplets", within="[0, inf)")


@dataclass(frozen=True)
class Rkd(Hinted):
    """CE + relations of pooled features: distances of pairs, and angles of triplets."""

    options: RkdOptions = RkdOptions()
    in_batch = True

    def hints(self, nets: pm.Nets, student: pm.Output, teacher: pm.Output, batch: pm.Batch) -> pm.Terms:
        from .losses import angles, distances

        return {
            "distances": self.options.distance * distances(student.pooled, teacher.pooled),
            "angles": self.options.angle * angles(student.pooled, teacher.pooled),
        }


@dataclass(frozen=True)
class PktOptions(TeacherOptions):
    weight: float = pm.option(30_000.0, "weight of the mean over all pairs", within="[0, inf)")


@dataclass(frozen=True)
class Pkt(Hinted):
    """CE + divergence of the samples' similarities, as distributions over the batch, of pooled features."""

    options: PktOptions = PktOptions()
    in_batch = True

    def hints(self, nets: pm.Nets, student: pm.Output, teacher: pm.Output, batch: pm.Batch) -> pm.Terms:
        from .losses import similar_neighbours

        return {"neighbours": self.options.weight * similar_neighbours(student.pooled, teacher.pooled)}


@dataclass(frozen=True)
class SpOptions(TeacherOptions):
    weight: float = pm.option(3000.0, "weight of the mean over all pairs", within="[0, inf)")


@dataclass(frozen=True)
class Sp(Hinted):
    """CE + squared differences of the samples' similarities: of last maps, or else of pooled features."""

    options: SpOptions = SpOptions()
    in_batch = True

    def hints(self, nets: pm.Nets, student: pm.Output, teacher: pm.Output, batch: pm.Batch) -> pm.Terms:
        from .losses import similar_pairs

        own, theirs = (o.maps[-1] if o.maps else o.pooled for o in (student, teacher))
        return {"pairs": self.options.weight * similar_pairs(own, theirs)}


# --- logits -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DkdOptions(TeacherOptions):
    alpha: float = pm.option(1.0, "weight of the label's class against the others", within="[0, inf)")
    beta: float = pm.option(8.0, "weight of the distribution over the others", within="[0, inf)")
    temperature: float = pm.option(4.0, "temperature of the logits", within="(0, inf)")
    warmup: float = pm.option(1 / 12, "part of training in which both weights rise", within="[0, 1]")


@dataclass(frozen=True)
class Dkd(Hinted):
    """CE + decoupled distillation, over samples that have a label and every modality of the teacher."""

    options: DkdOptions = DkdOptions()
    handles = frozenset({"unpaired"})

    def hints(self, nets: pm.Nets, student: pm.Output, teacher: pm.Output, batch: pm.Batch) -> pm.Terms:
        from .losses import decoupled

        o, labels = self.options, batch.labels[self.taught(batch)]
        known = labels >= 0
        rise = min(1.0, batch.progress / o.warmup) if o.warmup else 1.0
        pair = student.logits[known], teacher.logits[known]
        term = decoupled(*pair, labels[known], o.alpha, o.beta, o.temperature)
        return {"decoupled": rise * term}


@dataclass(frozen=True)
class DistOptions(TeacherOptions):
    beta: float = pm.option(1.0, "weight of the correlation within samples", within="[0, inf)")
    gamma: float = pm.option(1.0, "weight of the correlation within classes", within="[0, inf)")


@dataclass(frozen=True)
class Dist(Hinted):
    """CE + 1 less the correlation of probabilities, within samples and within classes."""

    options: DistOptions = DistOptions()
    in_batch = True

    def hints(self, nets: pm.Nets, student: pm.Output, teacher: pm.Output, batch: pm.Batch) -> pm.Terms:
        from .losses import correlated

        return {
            "correlations": correlated(student.logits, teacher.logits, self.options.beta, self.options.gamma)
        }


@dataclass(frozen=True)
class MlldOptions(TeacherOptions):
    imitation: float = pm.option(0.5, "weight of the imitation; the labels have 1 minus it", within="[0, 1]")


@dataclass(frozen=True)
class Mlld(Hinted):
    """(1-l) CE + l times multi-level logit distillation."""

    options: MlldOptions = MlldOptions()
    in_batch = True

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        found = dict(super().losses(nets, batch))
        return {"ce": (1 - self.options.imitation) * found.pop("ce"), **found}

    def hints(self, nets: pm.Nets, student: pm.Output, teacher: pm.Output, batch: pm.Batch) -> pm.Terms:
        from .losses import leveled

        return {"levels": self.options.imitation * leveled(student.logits, teacher.logits)}
