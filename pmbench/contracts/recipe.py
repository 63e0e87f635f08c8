"""Recipes: optimizer, schedule and budget of a stage."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

OPTIMIZERS = ("adamw", "adam", "sgd")
SCHEDULES = ("constant", "cosine", "step")
SELECTIONS = ("best", "last")
PRECISIONS = ("32", "bf16")


@dataclass(frozen=True)
class Recipe:
    """Optimizer, schedule, budget and checkpoint selection of one stage, or of one group of its modules.

    `optimizer`: "adamw" or "adam", with `beta1` and the second beta 0.999, or "sgd", with `momentum`; all of
    them with `weight_decay`. The budget is `epochs` epochs of batches of `batch_size` samples. An epoch has
    as many batches as one pass over the protocol's training samples, labelled or not. Stages that see
    labelled samples only pass over them several times, so all stages take equally many steps.

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
        mine, theirs = dataclasses.asdict(self), dataclasses.asdict(standard)
        return {name: (theirs[name], mine[name]) for name in mine if mine[name] != theirs[name]}
