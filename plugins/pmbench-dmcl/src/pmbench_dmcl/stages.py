"""Networks of all modalities, trained at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pmbench as pm


@dataclass(frozen=True)
class DmclOptions(pm.Options):
    labels: float = pm.option(1.0, "weight of the labels for a sample's losers", within="[0, inf)")
    soft: float = pm.option(1.0, "weight of the winner's softened logits for losers", within="[0, inf)")
    temperature: float = pm.option(2.0, "temperature of the softened logits", within="(0, inf)")


@dataclass(frozen=True)
class Dmcl(pm.Stage):
    """One network for each modality. The winner of a sample is the one with the least cross-entropy.

    Sum over networks of the mean over labelled samples of: CE(z, y) for the winner; for the others
    labels CE(z, y) + soft T^2 CE(softmax(sg z_winner / T), softmax(z / T)). A sample that lacks a modality
    has no part in its network's terms. Delivered: the network on `target`.
    """

    target: str
    privileged: tuple[str, ...]
    options: DmclOptions = DmclOptions()

    handles = frozenset({"unpaired"})

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.target, *self.privileged)

    def build(self, bench: pm.Bench) -> pm.Nets:
        from torch import nn

        peers = {m: bench.classifier(m) for m in self.privileged}
        return pm.Nets(student=bench.classifier(self.target), peers=nn.ModuleDict(peers))

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        from .losses import choice

        o = self.options
        peers: Any = nets.peers
        logits = [nets.student(batch).logits, *(peer(batch).logits for peer in peers.values())]
        present = [batch.present(m) & batch.labelled for m in self.reads]
        hard, soft = choice(logits, present, batch.labels, o.labels, o.temperature)
        return {"ce": hard, "winners": o.soft * soft} if o.soft else {"ce": hard}
