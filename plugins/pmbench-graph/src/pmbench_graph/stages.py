"""The stage of graph_distill."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pmbench as pm


@dataclass(frozen=True)
class GraphOptions(pm.Options):
    logits: float = pm.option(10.0, "weight of the distance of logits", within="[0, inf)")
    features: float = pm.option(1.0, "weight of the distance of pooled features", within="[0, inf)")
    prior: float = pm.option(10.0, "weight of the distance of the mean edges to the prior", within="[0, inf)")


@dataclass(frozen=True)
class GraphDistill(pm.Stage):
    """Student k on `target`, taught by frozen streams j, each with an edge weight for every sample.

    CE(z_k, y) + a sum_j mean_b w_bj (1 - cos(z_k, z_j)) + b sum_j mean_b w_bj (1 - cos(phi_k, phi_j))
    + c |mean_b s_b - prior|^2, with s_b the graph's softmax over the S streams, prior = 1/S and
    w = s + prior. z are logits, phi pooled features. The student has a gradient through w, too. CE runs over
    labelled samples, the other terms over those that have every privileged modality.
    """

    sources: tuple[pm.Stage, ...]
    target: str
    options: GraphOptions = GraphOptions()

    handles = frozenset({"unlabelled", "unpaired"})
    in_batch = True  # the distance of the mean over the batch to the prior

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.target, *(m for source in self.sources for m in source.reads))

    def build(self, bench: pm.Bench) -> pm.Nets:
        from torch import nn

        from .networks import Graph

        student, sources = bench.classifier(self.target), [bench.frozen(s) for s in self.sources]
        widths = [source.head.in_features for source in sources]
        graph = Graph(bench.num_classes, student.head.in_features, widths)
        return pm.Nets(student=student, graph=graph, sources=nn.ModuleList(sources))

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        from .losses import far_from_prior, weighted_cosines

        o, graph, sources = self.options, nets.graph, nets.sources
        student: Any = nets.student(batch)
        taught = batch.present(*self.reads)
        own = _only(student, taught)
        theirs = [_only(source(batch), taught) for source in sources]
        soft = graph(own, theirs)
        weights = soft + 1 / soft.shape[1]
        features = [(graph.adapted(own.pooled, t.pooled.shape[1]), t.pooled) for t in theirs]
        return {
            "ce": pm.cross_entropy(student.logits, batch.labels),
            "logits": o.logits * weighted_cosines([(own.logits, t.logits) for t in theirs], weights),
            "features": o.features * weighted_cosines(features, weights),
            "prior": o.prior * far_from_prior(soft),
        }


def _only(output: pm.Output, rows: Any) -> pm.Output:
    """The Output of the samples in `rows` (B,) bool, without maps."""
    return pm.Output(output.logits[rows], output.pooled[rows])
