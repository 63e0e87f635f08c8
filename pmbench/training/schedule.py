"""Recipes: validation of their values, and the learning rate of every step."""

from __future__ import annotations

import math

from ..contracts.recipe import OPTIMIZERS, PRECISIONS, SCHEDULES, SELECTIONS, Recipe
from ..errors import UsageError

AUDITED_BYTES = 1 << 25
"""The weights of all epochs are kept, for the audit of the selected epoch, if they are not larger."""


def rate_factor(recipe: Recipe, step: int, total: int) -> float:
    """Factor of the learning rate at `step` of `total`, in (0, 1]."""
    warm = recipe.warmup * total
    factor = min(1.0, (step + 1) / warm) if warm else 1.0
    if recipe.schedule == "cosine":
        return factor * 0.5 * (1 + math.cos(math.pi * step / total))
    if recipe.schedule == "step":
        return factor * recipe.gamma ** sum(step >= m * total for m in recipe.milestones)
    return factor


def checked_recipe(recipe: Recipe, who: str) -> Recipe:
    """The recipe; raises UsageError naming `who` for an invalid value."""
    for name, value, known in (
        ("optimizer", recipe.optimizer, OPTIMIZERS),
        ("schedule", recipe.schedule, SCHEDULES),
        ("select", recipe.select, SELECTIONS),
        ("precision", recipe.precision, PRECISIONS),
    ):
        if value not in known:
            raise UsageError(f"{who}: recipe has {name} {value!r}; expected one of {', '.join(known)}")
    if recipe.batch_size < 2 or recipe.epochs < 0 or recipe.lr <= 0:
        raise UsageError(
            f"{who}: recipe has batch_size {recipe.batch_size}, epochs {recipe.epochs}, lr {recipe.lr}; "
            "expected at least 2, at least 0, above 0"
        )
    return recipe
