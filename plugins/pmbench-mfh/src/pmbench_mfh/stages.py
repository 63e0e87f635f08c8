"""Stages of mfh_kd: two networks that agree, the salience of features, and a student of the shared ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pmbench as pm

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class JointOptions(pm.Options):
    agreement: float = pm.option(
        1.0, "weight of the squared difference of both networks' logits", within="[0, inf)"
    )


@dataclass(frozen=True)
class RateOptions(pm.Options):
    permutations: int = pm.option(10, "permutations of each feature in a batch", within="[1, inf)")


@dataclass(frozen=True)
class ImitateOptions(pm.DistillOptions):
    mode: Literal["general", "specific", "random", "none"] = pm.option(
        "general", "which features the teacher keeps: the most salient, the least salient, some, or all"
    )
    share: float = pm.option(0.75, "share of the teacher's features that are left out", within="[0, 1)")


@dataclass(frozen=True)
class MfhOptions(JointOptions, RateOptions, ImitateOptions):
    """Those of the three stages."""


@dataclass(frozen=True)
class Joint(pm.Stage):
    """A privileged network T and a partner P on the target, trained together to agree.

    CE(z_T, y) + CE(z_P, y) + agreement MSE(z_T, z_P), with gradient to both. CE runs over labelled samples,
    terms with T over samples that have every privileged modality. Delivered: both.
    """

    target: tuple[str, ...]
    privileged: tuple[str, ...]
    options: JointOptions = JointOptions()

    handles = frozenset({"unlabelled", "unpaired"})

    @property
    def reads(self) -> tuple[str, ...]:
        return (*self.target, *self.privileged)

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .networks import Pair

        return pm.Nets(student=Pair(_network(bench, self.privileged), _network(bench, self.target)))

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        pair: Any = nets.student
        paired, y = batch.present(*self.privileged), batch.labels
        teacher, partner = pair.teacher(batch).logits, pair.partner(batch).logits
        apart = ((teacher - partner)[paired] ** 2).sum() / max(teacher[paired].numel(), 1)
        return {
            "ce_privileged": pm.cross_entropy(teacher, y.masked_fill(~paired, -1)),
            "ce_target": pm.cross_entropy(partner, y),
            "agreement": self.options.agreement * apart,
        }


@dataclass(frozen=True)
class Rate(pm.Stage):
    """One pass over the training samples that rates the features of the privileged network; nothing moves."""

    joint: Joint
    options: RateOptions = RateOptions()

    handles = frozenset({"unlabelled"})
    in_batch = True

    @property
    def reads(self) -> tuple[str, ...]:
        return self.joint.reads

    def recipe(self, standard: pm.Recipe) -> pm.Recipe:
        return standard.but(epochs=1, select="last")

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .networks import Rated

        pair: Any = bench.frozen(self.joint)
        return pm.Nets(student=Rated(pm.Frozen(pair.teacher)), partner=pm.Frozen(pair.partner))

    def groups(self, nets: pm.Nets) -> Mapping[str, pm.Group]:
        return {}

    def update(self, nets: pm.Nets, batch: pm.Batch, step: pm.Step) -> None:
        from .salience import salience

        rated: Any = nets.student
        output, reference = rated(batch), nets.partner(batch).logits
        found = salience(
            output.pooled,
            rated.teacher.head.weight,
            output.logits,
            reference,
            self.options.permutations,
        )
        rated.add(output.pooled, found)


@dataclass(frozen=True)
class Imitate(pm.Distill):
    """`kd` from a teacher that keeps the features of one kind; the others are their training mean."""

    options: ImitateOptions = ImitateOptions()

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .networks import Focused

        focused = Focused(bench.frozen(self.teacher), self.options.mode, self.options.share)
        return pm.Nets(student=_network(bench, self.target), teacher=pm.Frozen(focused))


def _network(bench: pm.Bench, modalities: tuple[str, ...]) -> nn.Module:
    return bench.classifier(*modalities) if len(modalities) == 1 else bench.fusion(*modalities)
