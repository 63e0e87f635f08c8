"""Stages that only reference rows need."""

from __future__ import annotations

from dataclasses import dataclass

import pmbench as pm


@dataclass(frozen=True)
class Filled(pm.Stage):
    """A finished multimodal network given `target` alone, the training mean in place of all else it reads.

    Nothing is trained. Inputs are standardised by training statistics, so that the mean is zero.
    """

    network: pm.Stage
    target: tuple[str, ...]

    trains = False

    @property
    def reads(self) -> tuple[str, ...]:
        return self.target

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .reference_networks import MeanFilled

        missing = [m for m in self.network.reads if m not in self.target]
        shapes = {m: bench.modality(m).shape for m in missing}
        return pm.Nets(student=MeanFilled(bench.frozen(self.network), self.target, shapes))
