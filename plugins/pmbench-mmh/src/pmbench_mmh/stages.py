"""Students on the target modality that a frozen multimodal network teaches by regions or by relations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import pmbench as pm

if TYPE_CHECKING:
    from torch import Tensor, nn

SCALES = (1, 2, 4)
"""Cell sizes of the pyramid over 4 x 4 cells: 16, 4 and 1 regions."""
SIDE = max(SCALES)
WEIGHTINGS = ("learned", "detached_G", "uniform")
FORMS: Mapping[str, float] = {"cos_mse": 100.0, "sp_mse": 100.0, "cos_fro": 1.0}
"""How relations are compared, each with the weight that makes it about as large as the cross-entropy."""


@dataclass(frozen=True)
class Taught(pm.Stage):
    """CE(z_s, y) over labelled samples, plus what the teacher hints at over all samples that it can see."""

    teacher: pm.Stage
    modality: str

    handles = frozenset({"unlabelled", "unpaired"})

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.modality, *self.teacher.reads)))

    def build(self, bench: pm.Bench) -> pm.Nets:
        return pm.Nets(student=bench.classifier(self.modality), teacher=bench.frozen(self.teacher))

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        from .losses import members

        student, taught = nets.student(batch), batch.present(*self.teacher.reads)
        teachers = members(nets.teacher)
        said = [_only(teacher(batch), taught) for teacher in teachers]
        return {
            "ce": pm.cross_entropy(student.logits, batch.labels),
            **self.hints(nets, _only(student, taught), teachers, said),
        }

    def hints(
        self,
        nets: pm.Nets,
        student: pm.Output,
        teachers: Sequence[nn.Module],
        said: Sequence[pm.Output],
    ) -> pm.Terms:
        """Terms from the student's Output and, network by network, the teacher's on the same samples."""
        raise NotImplementedError


@dataclass(frozen=True)
class RegionAware(Taught):
    """RAD: alpha sum_n omega_n g_n, g_n = T^2 KL of the two heads' answers on region n of the last maps.

    Regions are the cells of a pyramid over the map pooled to 4 cells along each of `axes` axes (2: height and
    width, 21 regions; 1: time, 7; 0: no comparable maps, the logits themselves, 1). A late-fused teacher's
    answer on a region is the mean of its streams'. omega by `weighting`: "learned" (eq. 6), "detached_G" (the
    same, but no gradient reaches the student through omega), "uniform" (1/N). `scales` are the cell sizes.
    """

    alpha: float = 0.4
    temperature: float = 2.0
    weighting: str = "learned"
    scales: tuple[int, ...] = SCALES
    axes: int = 2

    def __post_init__(self) -> None:
        pm.require_in("[0, inf)", alpha=self.alpha)
        pm.require_in("(0, inf)", temperature=self.temperature)
        if not self.scales or self.scales != tuple(s for s in SCALES if s in self.scales):
            raise pm.UsageError(f"scales {self.scales}: expected some of {SCALES}, each once, in this order")

    @property
    def regions(self) -> int:
        """N, the number of regions."""
        return sum((SIDE // s) ** self.axes for s in self.scales) if self.axes else 1

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .networks import RegionWeights

        nets = super().build(bench)
        if not self.axes:
            bench.note(
                "no maps to compare position by position: one region, so that RAD is plain distillation of "
                "logits"
            )
        else:
            student = cast("pm.Classifier", nets.student)
            shape = bench.modality(self.modality).shape[1:]
            _check_head(self.modality, student)
            one = all(n <= s for n, s in zip(shape, student.encoder.maps[-1].stride, strict=True))
            # where the student's last map is one position all its regions are one, whatever they weigh
            if self.weighting != "uniform" and self.regions > 1 and not one:
                nets.add_module("weights", RegionWeights(self.regions))
        return nets

    def hints(
        self,
        nets: pm.Nets,
        student: pm.Output,
        teachers: Sequence[nn.Module],
        said: Sequence[pm.Output],
    ) -> pm.Terms:
        from .losses import region_divergences, region_logits

        shown = region_logits(teachers, said, self.axes, self.scales)
        guessed = region_logits([nets.student], [student], self.axes, self.scales)
        g = region_divergences(shown, guessed, self.temperature)
        return {"regions": self.alpha * self._weighted(nets, g)}

    def _weighted(self, nets: pm.Nets, g: Tensor) -> Tensor:
        weights = getattr(nets, "weights", None)
        if weights is None:
            return g.mean()
        omega: Tensor = weights(g.detach() if self.weighting == "detached_G" else g)
        return (omega * g).sum()


@dataclass(frozen=True)
class DiscrepancyAware(Taught):
    """DAD: beta times the distance between how two networks tell the samples of a batch apart (eq. 11-14).

    Compared are the teacher's maps from the joint on with as many last maps of the student; `form` as in
    `losses.relation_distance`.
    """

    beta: float = FORMS["cos_mse"]
    form: str = "cos_mse"

    def __post_init__(self) -> None:
        check_relations(self.beta, self.form)

    def hints(
        self,
        nets: pm.Nets,
        student: pm.Output,
        teachers: Sequence[nn.Module],
        said: Sequence[pm.Output],
    ) -> pm.Terms:
        return {"relations": self.beta * relations(said, student, self.form)}


@dataclass(frozen=True)
class Joint(RegionAware):
    """RAD and DAD in one student: CE + alpha L_RAD + beta L_DAD.

    Deviation: ours. The paper trains two students and adds their logits.
    """

    beta: float = FORMS["cos_mse"]
    form: str = "cos_mse"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_relations(self.beta, self.form)

    def hints(
        self,
        nets: pm.Nets,
        student: pm.Output,
        teachers: Sequence[nn.Module],
        said: Sequence[pm.Output],
    ) -> pm.Terms:
        by_region = super().hints(nets, student, teachers, said)
        return {**by_region, "relations": self.beta * relations(said, student, self.form)}


@dataclass(frozen=True)
class Added(pm.Stage):
    """Finished students on one modality side by side, their logits added, nothing trained."""

    students: tuple[pm.Stage, ...]
    modality: str

    trains = False

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.modality,)

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .networks import Sum

        return pm.Nets(student=Sum(*(bench.frozen(student) for student in self.students)))


def relations(said: Sequence[pm.Output], student: pm.Output, form: str) -> Tensor:
    """Distance of the fused teacher's relations, on every map behind the joint, from the student's."""
    from .losses import relation_distance

    (fused,) = said
    if not 0 < len(fused.maps) <= len(student.maps):
        raise pm.ContractError(
            f"the fused teacher gives {len(fused.maps)} maps behind its joint, the student "
            f"{len(student.maps)}; expected at least one, and as many of the student"
        )
    return relation_distance(fused.maps, student.maps[-len(fused.maps) :], form)


def check_relations(beta: float, form: str) -> None:
    """Raises UsageError for a weight or a form that there is not."""
    pm.require_in("[0, inf)", beta=beta)
    if form not in FORMS:
        raise pm.UsageError(f"form {form!r}: expected one of {', '.join(FORMS)}")


def _check_head(modality: str, student: pm.Classifier) -> None:
    """Region logits are head(mean over cells), so that the head must take the channels of the last map."""
    channels, features = student.encoder.maps[-1].channels, student.head.in_features
    if features != channels:
        raise pm.ContractError(
            f"the backbone of {modality!r} pools a map of {channels} channels to {features} features, so "
            "that its head cannot be asked about a region",
            "choose a backbone whose pooled features are the mean of its last map",
        )


def _only(output: pm.Output, rows: Tensor) -> pm.Output:
    """The Output of the samples in `rows` (B,) bool."""
    logits, pooled, maps = output
    return type(output)(logits[rows], pooled[rows], tuple(m[rows] for m in maps))
