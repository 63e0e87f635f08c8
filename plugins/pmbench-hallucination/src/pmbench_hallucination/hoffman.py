"""hoffman: a network on the target modality imitates the privileged one's features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pmbench as pm

from .hallucination import compared_layer, hallucination_network
from .losses import ImitationOptions, imitation


@dataclass(frozen=True)
class HoffmanOptions(ImitationOptions):
    reduction: Literal["mean", "sse"] = pm.option(
        "mean", "reduction of the feature loss: mean over elements, or sum (sse)"
    )
    layer: Literal["auto", "map", "pooled"] = pm.option(
        "auto", "features to compare; auto: maps where both agree in shape and grid, else pooled vectors"
    )
    train_privileged: bool = pm.option(
        False, "train the privileged network further; needs the privileged modality of every sample"
    )


@dataclass(frozen=True)
class Hallucinate(pm.Stage):
    """Target network f_t, privileged network f_p, and h: f_p's architecture on the target modality.

    CE(z_t) + CE(z_h) + CE((z_t + z_h)/2) + CE((z_t + sg z_p)/2) + L, and CE(z_p) with `train_privileged`.
    L is eq. 3, 5 or 7 (`losses.imitation`); sg: no gradient. CE runs over labelled samples, terms with the
    privileged modality over samples that have it.
    """

    target: pm.Stage
    privileged: pm.Stage
    options: HoffmanOptions

    handles = frozenset({"unlabelled", "unpaired"})

    @property
    def reads(self) -> tuple[str, ...]:
        return (*self.target.reads, *self.privileged.reads)

    def build(self, bench: pm.Bench) -> pm.Nets:
        if self.options.layer == "pooled" and self.options.loss != "eq5":
            bench.note("pooled vectors are compared in place of maps")
        trained: Any = bench.trainable(self.privileged)
        h = hallucination_network(bench, self.target.reads[0], trained)
        f_p = trained if self.options.train_privileged else bench.frozen(self.privileged)
        return pm.Nets(target=bench.trainable(self.target), hallucination=h, privileged=f_p)

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        y, paired = batch.labels, batch.present(*self.privileged.reads)
        y_paired = y.masked_fill(~paired, -1)
        t, h, p = nets.target(batch), nets.hallucination(batch), nets.privileged(batch)
        terms = {
            "ce_target": pm.cross_entropy(t.logits, y),
            "ce_hallucination": pm.cross_entropy(h.logits, y),
            "ce_target_hallucination": pm.cross_entropy((t.logits + h.logits) / 2, y),
            "ce_target_privileged": pm.cross_entropy((t.logits + p.logits.detach()) / 2, y_paired),
        }
        if self.options.train_privileged:
            terms["ce_privileged"] = pm.cross_entropy(p.logits, y_paired)
        return {**terms, **imitation(self.options, self.options.layer, p, h, y, paired)}

    def deliver(self, nets: pm.Nets) -> pm.Mean:
        return pm.Mean(nets.target, nets.hallucination)


@pm.method(
    "hoffman",
    paper="Hoffman, Gupta, Darrell, CVPR 2016, doi:10.1109/CVPR.2016.96",
    networks=2,
    teachers="privileged_only",
    deviations=(
        "classification instead of detection: one cross-entropy where the paper has a class and a box term",
        "four cross-entropies; the privileged network is finished and frozen (`train_privileged` trains it)",
        "last map in place of pool5, mean over its elements times 10",
    ),
    ablations={
        f"mdms, table 2, row {row}: {loss}": pm.Ablation(
            {"loss": loss}, ("Garcia et al., ECCV 2018 (MDMS)", "Table 2", f"row0{row}:no_conn;{loss}")
        )
        for row, loss in ((3, "eq3"), (4, "eq5"), (5, "eq7"))
    },
    search={"weight": "log [0.1, 300]"},
)
def hoffman(setting: pm.Setting, options: HoffmanOptions) -> pm.Stage:
    """Target network and a hallucination network that imitates privileged features; mean of their logits"""
    t, p = setting.only_target(), setting.only_privileged()
    if options.train_privileged and "unpaired" in setting.demands:
        raise pm.Unsupported(
            "cannot train the privileged network further where samples lack its modality",
            "leave train_privileged at false",
        )
    layer = compared_layer(setting, options.layer)
    return Hallucinate(pm.Stream(t), pm.Stream(p), options.but(layer=layer))
