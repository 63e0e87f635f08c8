"""Graph distillation: several privileged streams teach a student, weighed for every sample."""

from __future__ import annotations

from collections.abc import Iterable

import pmbench as pm

from .stages import GraphDistill, GraphOptions


@pm.method(
    "graph_distill",
    paper="Luo, Hsieh, Jiang, Niebles, Fei-Fei, ECCV 2018, arXiv:1712.00108",
    teachers="own",
    deviations=(
        "frozen streams in evaluation mode; the authors' code leaves them in training mode",
        "a uniform prior of the edges",
        "features of another width than the student's are compared through a learned linear layer",
    ),
    search={"logits": "log [0.5, 100]", "features": "log [0.05, 20]", "prior": "log [0.5, 100]"},
)
def graph_distill(setting: pm.Setting, options: GraphOptions) -> pm.Stage:
    """Student taught by one stream for each privileged modality, with weights learned for every sample"""
    if len(setting.privileged) < 2:
        listed = ", ".join(setting.privileged) or "none"
        raise pm.Unsupported(
            "weighs privileged modalities against each other, so it needs at least two; this setting has "
            f"{len(setting.privileged)} ({listed})"
        )
    sources = tuple(pm.trained_on(m) for m in setting.privileged)
    return GraphDistill(sources, setting.only_target(), options)


@pm.hookimpl
def pmbench_methods() -> Iterable[pm.Method]:
    return (graph_distill,)
