"""Students on the target modality that a frozen multimodal network teaches by regions or by relations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pmbench as pm

if TYPE_CHECKING:
    from torch import Tensor

SCALES = (1, 2, 4)
"""Cell sizes of the pyramid over 4 x 4 cells: 16, 4 and 1 regions."""
BETA = {"cos_mse": 100.0, "sp_mse": 100.0, "cos_fro": 1.0}
"""For each form of the relations, the weight that makes them about as large as the cross-entropy."""


@dataclass(frozen=True)
class TeacherOptions(pm.Options):
    """The plan makes the teacher that this option names, and a stage has it as its parent."""

    teacher: Literal["early", "late"] = pm.option(
        "early", "one network over all modalities, or finished streams whose logits are averaged (rad only)"
    )


@dataclass(frozen=True)
class RadOptions(TeacherOptions):
    alpha: float = pm.option(0.4, "weight of the regions", within="[0, inf)")
    temperature: float = pm.option(2.0, "temperature of the region logits", within="(0, inf)")
    weighting: Literal["learned", "detached_G", "uniform"] = pm.option(
        "learned",
        "weights of regions from their divergences, the same without gradient through them, or equal",
    )
    scales: tuple[int, ...] = pm.option(
        SCALES, "cell sizes of the pyramid over 4 x 4 cells; 4: the whole map"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.scales or not set(self.scales) <= set(SCALES):
            raise pm.UsageError(f"option 'scales' is {self.scales}; expected some of {SCALES}")
        object.__setattr__(self, "scales", tuple(sorted(set(self.scales))))


@dataclass(frozen=True)
class DadOptions(TeacherOptions):
    beta: float | None = pm.option(
        None, "weight of the relations; none: 100, or 1 for cos_fro", within="[0, inf)"
    )
    form: Literal["cos_mse", "cos_fro", "sp_mse"] = pm.option(
        "cos_mse",
        "mean square or Frobenius norm of differences in cosine, mean square of those in dot products",
    )

    @property
    def weight(self) -> float:
        return BETA[self.form] if self.beta is None else self.beta


@dataclass(frozen=True)
class RadDadOptions(DadOptions, RadOptions):
    """Those of `rad`, then those of `dad`."""


class Hinted(pm.TeacherStudent):
    """CE(z_s, y) over labelled samples, plus hints over those that have every modality of the teacher."""

    in_batch = True  # weights of regions are functions of means over the batch, relations of its pairs

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        student, taught = nets.student(batch), self.taught(batch)
        teachers = [_only(network(batch), taught) for network in members(nets.teacher)]
        ce = pm.cross_entropy(student.logits, batch.labels)
        return {"ce": ce, **self.hints(nets, _only(student, taught), teachers)}

    def hints(self, nets: pm.Nets, student: pm.Output, teachers: Sequence[pm.Output]) -> pm.Terms:
        """Terms from the Outputs of the student and of the teacher's networks on the same samples."""
        raise NotImplementedError


@dataclass(frozen=True)
class RegionAware(Hinted):
    """RAD: alpha sum_n omega_n g_n, g_n = T^2 KL(teacher || student) of the heads' logits on region n.

    Regions are the cells of a pyramid over the last map, 4, 2 and 1 along each of `axes` axes (2: height and
    width, 21 regions; 1: time, 7). With 0 axes no maps are comparable, and the one region has the
    logits of the networks. Region logits of a late-fused teacher are the mean of its streams'. omega is
    learned from g (eq. 6), or 1/N.
    """

    options: RadOptions = RadOptions()
    axes: int = 2

    @property
    def regions(self) -> int:
        """N, the number of regions."""
        return sum((max(SCALES) // s) ** self.axes for s in self.options.scales) if self.axes else 1

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .networks import RegionWeights

        nets = super().build(bench)
        if not self.axes:
            bench.note("no maps to compare by position: one region, so that RAD is distillation of logits")
            return nets
        (modality,) = self.target
        last, shape = nets.student.encoder.maps[-1], bench.modality(modality).shape[1:]
        # on a last map of one position all regions are equal, and so are their divergences
        several = any(n > s for n, s in zip(shape, last.stride, strict=True))
        if self.options.weighting != "uniform" and self.regions > 1 and several:
            nets.add_module("weights", RegionWeights(self.regions))
        return nets

    def hints(self, nets: pm.Nets, student: pm.Output, teachers: Sequence[pm.Output]) -> pm.Terms:
        from .losses import region_divergences, region_logits

        o = self.options
        theirs = region_logits(members(nets.teacher), teachers, self.axes, o.scales)
        own = region_logits(members(nets.student), [student], self.axes, o.scales)
        g = region_divergences(theirs, own, o.temperature)
        if not hasattr(nets, "weights"):
            return {"regions": o.alpha * g.mean()}
        omega = nets.weights(g.detach() if o.weighting == "detached_G" else g)
        return {"regions": o.alpha * (omega * g).sum()}


@dataclass(frozen=True)
class DiscrepancyAware(Hinted):
    """DAD: beta times the distance between two networks' relations among the samples of a batch (eq. 11-14).

    The fused teacher's maps, all behind its joint, are compared with as many last maps of the student.
    """

    options: DadOptions = DadOptions()

    def hints(self, nets: pm.Nets, student: pm.Output, teachers: Sequence[pm.Output]) -> pm.Terms:
        from .losses import relation_distance

        (fused,) = teachers
        count = len(fused.maps)
        if not 0 < count <= len(student.maps):
            raise pm.ContractError(
                f"the fused teacher gives {count} maps behind its joint, the student {len(student.maps)}; "
                "expected at least one, and as many of the student"
            )
        distance = relation_distance(fused.maps, student.maps[-count:], self.options.form)
        return {"relations": self.options.weight * distance}


@dataclass(frozen=True)
class Joint(RegionAware, DiscrepancyAware):
    """RAD and DAD in one student: CE + alpha L_RAD + beta L_DAD.

    Deviation: ours. The paper trains two students and adds their logits.
    """

    options: RadDadOptions = RadDadOptions()

    def hints(self, nets: pm.Nets, student: pm.Output, teachers: Sequence[pm.Output]) -> pm.Terms:
        regions = RegionAware.hints(self, nets, student, teachers)
        return {**regions, **DiscrepancyAware.hints(self, nets, student, teachers)}


@dataclass(frozen=True)
class Added(pm.LateFusion):
    """Finished students on one modality side by side, their logits added, nothing trained."""

    modality: str

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.modality,)

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .networks import Sum

        return pm.Nets(student=Sum(*(bench.frozen(student) for student in self.streams)))


def members(network: Any) -> tuple[Any, ...]:
    """The networks whose logits a late-fused teacher averages; any other network alone."""
    return tuple(getattr(network, "networks", (network,)))


def _only(output: pm.Output, rows: Tensor) -> pm.Output:
    """The Output of the samples in `rows` (B,) bool."""
    return pm.Output(output.logits[rows], output.pooled[rows], tuple(m[rows] for m in output.maps))
