"""What a study is asked to do, and checks of it that need neither plugins nor data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ...errors import UsageError
from ..request import Request

Sampler = Literal["qmc", "tpe"]
SAMPLERS: tuple[Sampler, ...] = get_args(Sampler)
"""Quasi-random points, or few of these and then a tree-structured Parzen estimator."""
SEEDS, CONFIRMING = (100,), (101, 102, 103)
"""Default seeds of the search and of the confirmation; runs have 0, 1, 2 by default."""


@dataclass(frozen=True)
class TuningRequest:
    """Methods, or variants of them, and where they are tuned; as in `Request`.

    `trials`: of each method, the first one with its default values. `seeds`: a trial's score is the mean over
    them. `confirming`: seeds under which the best trial and the default are trained again.
    """

    methods: tuple[str, ...]
    dataset: str
    protocol: str = ""
    backbone: str = ""
    recipe: str = ""
    weights: str = ""
    sets: tuple[str, ...] = ()
    trials: int = 20
    sampler: Sampler = "qmc"
    seeds: tuple[int, ...] = SEEDS
    confirming: tuple[int, ...] = CONFIRMING

    def __post_init__(self) -> None:
        if not self.methods:
            raise UsageError("no method to tune", "give --method NAME (`pmbench list methods`)")
        for option, given in (("dataset", self.dataset), ("protocol", self.protocol)):
            if "," in given:
                raise UsageError(
                    f"--{option} {given}: a study has one {option}", "give a command for each, with its --out"
                )
        if self.trials < 1:
            raise UsageError(
                f"--trials {self.trials}: expected 1 or more", "the first one has the default values"
            )
        if self.sampler not in SAMPLERS:
            raise UsageError(f"--sampler {self.sampler}: expected {' or '.join(SAMPLERS)}")
        if not self.seeds or not self.confirming:
            raise UsageError("a study needs a seed for its search and another one to confirm it")
        if common := sorted(set(self.seeds) & set(self.confirming)):
            raise UsageError(
                f"seed {common[0]} is one of the search and one of the confirmation",
                "give --confirm-seed seeds that choose nothing",
            )

    def run(self, methods: tuple[str, ...], seeds: tuple[int, ...]) -> Request:
        """The request of a run of some methods, variants of these, under some seeds."""
        return Request(
            methods=methods,
            datasets=(self.dataset,),
            protocols=(self.protocol,) if self.protocol else (),
            backbones=(self.backbone,) if self.backbone else (),
            seeds=seeds,
            sets=self.sets,
            references=False,
            recipe=self.recipe,
            weights=self.weights,
        )
