"""Recipes: optimizer, schedule and budget of a stage; what a paper ran besides."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

OPTIMIZERS = ("adamw", "adam", "sgd")
SCHEDULES = ("constant", "cosine", "step")
SELECTIONS = ("best", "last")
PRECISIONS = ("32", "bf16")


@dataclass(frozen=True)
class Recipe:
    """Optimizer, schedule, budget and checkpoint selection of one stage, or of one group of its modules.

    An epoch has as many batches as one pass over the protocol's training samples, labelled or not. Stages
    that see labelled samples only pass over them several times, so all stages take equally many steps.

    The default `lr` has the best validation accuracy among 1e-3, 3e-3 and 1e-2 for streams on nearly all
    embedded data sets; 1e-3 leaves them up to 20 points under-trained.

    `schedule`: "constant"; "cosine" to zero over all steps; "step" multiplies by `gamma` at the fractions
    `milestones` of all steps. `warmup` is the fraction of all steps over which the rate rises linearly from
    zero. `select`: "best" selects the epoch with the best primary metric on validation data (the latest of
    equals), "last" the last epoch. `clip` bounds the gradient norm; 0 means no bound. `precision`: "32", or
    "bf16" for automatic mixed precision.
    """

    optimizer: str = "adamw"
    lr: float = 1e-2
    weight_decay: float = 1e-2
    momentum: float = 0.9
    beta1: float = 0.9
    epochs: int = 20
    batch_size: int = 64
    schedule: str = "cosine"
    warmup: float = 0.0
    milestones: tuple[float, ...] = ()
    gamma: float = 0.1
    clip: float = 0.0
    select: str = "best"
    precision: str = "32"

    def but(self, **changes: object) -> Recipe:
        """A copy with `changes` applied."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    def departures(self, standard: Recipe) -> dict[str, tuple[object, object]]:
        """Fields that differ from `standard`: name -> (standard value, own value)."""
        mine, theirs = vars(self), vars(standard)
        return {name: (theirs[name], mine[name]) for name in mine if mine[name] != theirs[name]}


@dataclass(frozen=True)
class Setup:
    """What papers ran on a data set, besides the recipe of the same name.

    `papers` are citations, as in their published numbers. `options`: method -> option -> value; what is not
    named has its default. `backbones` and `weights`: modality -> name; modalities that are not named have the
    backbone of the data set, and no pretrained weights. `sampling` is a part of protocol names for clips,
    such as "clip-16"; empty for the data set's own sampling. `differs` says, a phrase each, what pmbench does
    otherwise than the papers in any case.

    A run with the recipe takes all of this unless it is told otherwise, and its records list what differs
    beside each published number.
    """

    papers: tuple[str, ...]
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    backbones: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    sampling: str = ""
    differs: tuple[str, ...] = ()


NO_SETUP = Setup(())
"""That of a recipe without papers."""
