"""The partially shared multimodal network: the second teacher of the paper's table V."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pmbench as pm


@dataclass(frozen=True)
class PartiallyShared(pm.Stage):
    """One branch for each modality and one that all share, which exchange maps at every block (PSMM-Net).

    CE(z, y) + sum_m CE(z_m, y): z from the shared map at the end, z_m from that of the branch of m.
    """

    modalities: tuple[str, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        return self.modalities

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .partial_network import PartiallySharedNetwork

        branches = {m: bench.encoder(m) for m in self.modalities}
        shared = bench.encoder(self.modalities[0])
        axes = len(bench.modality(self.modalities[0]).shape) - 1
        heads = [bench.head(shared.features) for _ in range(len(branches) + 1)]
        return pm.Nets(student=PartiallySharedNetwork(branches, shared, heads, axes))

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        student: Any = nets.student
        whole, each = student.parts(batch)
        own = {f"ce_{m}": pm.cross_entropy(logits, batch.labels) for m, logits in each.items()}
        return {"ce": pm.cross_entropy(whole.logits, batch.labels), **own}
