"""Optimizer steps: one optimizer per group of modules, and the `step` that `Stage.update` calls."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..contracts.recipe import Recipe
from ..contracts.stage import Stage, Terms
from ..errors import ContractError
from ..networks.modules import Nets
from .device import Accelerator
from .schedule import checked_recipe

Seen = dict[str, list[tuple[int, Tensor]]]
"""Term -> its values in one epoch, each with the number of its optimizer step."""


@dataclass
class GroupOptimizer:
    """The parameters of a group, their optimizer and its recipe."""

    recipe: Recipe
    optimizer: torch.optim.Optimizer
    parameters: list[nn.Parameter]


def optimizers_of(stage: Stage, nets: Nets, standard: Recipe) -> dict[str, GroupOptimizer]:
    """Group -> optimizer; raises ContractError unless every trainable parameter is in exactly one group."""
    stage_name = type(stage).__name__
    found, owner = {}, dict[int, str]()
    known = {id(p) for p in nets.parameters()}
    for name, group in stage.groups(nets).items():
        unknown = set(group.changes) - {f.name for f in dataclasses.fields(Recipe)}
        if unknown:
            raise ContractError(
                f"stage {stage_name}: group {name!r} changes {sorted(unknown)}, which a recipe does not have"
            )
        recipe = checked_recipe(standard.but(**group.changes), f"{stage_name}, group {name}")
        parameters = [p for m in group.modules for p in m.parameters() if p.requires_grad]
        parameters = list({id(p): p for p in parameters}.values())
        for p in parameters:
            if id(p) in owner:
                raise ContractError(
                    f"stage {stage_name}: a parameter is in groups {owner[id(p)]!r} and {name!r}"
                )
            owner[id(p)] = name
        if any(id(p) not in known for p in parameters):
            raise ContractError(
                f"stage {stage_name}: group {name!r} holds parameters that are not in its nets",
                "checkpoints hold the modules of `Nets`: give it every module that is trained",
            )
        if not parameters:
            raise ContractError(f"stage {stage_name}: group {name!r} has no trainable parameter")
        found[name] = GroupOptimizer(recipe, _optimizer(recipe, parameters), parameters)
    left = [n for n, p in nets.named_parameters() if p.requires_grad and id(p) not in owner]
    if left:
        raise ContractError(
            f"stage {stage_name}: trainable parameters in no group, for example {left[0]!r}",
            "add their module to a group, or freeze it with bench.frozen",
        )
    return found


def _optimizer(recipe: Recipe, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            parameters,
            recipe.lr,
            recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=recipe.momentum > 0,
        )
    kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, recipe.lr, (recipe.beta1, 0.999), weight_decay=recipe.weight_decay, fused=True)


_WANTED = (
    'expected a dict of named scalar tensors, such as {"ce": pm.cross_entropy(student.logits, batch.labels)}'
)


def check_terms(stage: str, terms: object) -> None:
    """Raises ContractError unless the loss terms of a stage are a dict of named scalar tensors."""
    if not isinstance(terms, Mapping):
        raise ContractError(f"the loss terms of stage {stage} are {_kind(terms)}; {_WANTED}")
    if not terms:
        raise ContractError(f"stage {stage} gives no loss terms, but an empty dict; {_WANTED}")
    for name, value in terms.items():
        if not isinstance(name, str):
            raise ContractError(f"stage {stage}: the name of loss term {name!r} is {_kind(name)}; {_WANTED}")
        if not isinstance(value, Tensor) or value.dim():
            raise ContractError(f"stage {stage}: loss term {name!r} is {_kind(value)}; {_WANTED}")


def _kind(value: object) -> str:
    """`None`, `a float`, `a tensor of shape (2, 3)`."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


class OptimizerStep:
    """`step(terms, group)` of `Stage.update`."""

    def __init__(
        self, stage: str, optimizers: Mapping[str, GroupOptimizer], accelerator: Accelerator
    ) -> None:
        self._stage, self._optimizers, self._accelerator = stage, optimizers, accelerator
        self._calls = 0
        self.seen: Seen = {}
        self.counts: dict[str, int] = {}
        """Steps taken by each group."""

    def __call__(self, terms: Terms, group: str = "main") -> None:
        self._calls += 1
        if group not in self._optimizers:
            raise ContractError(
                f"stage {self._stage} steps group {group!r}; its groups are {', '.join(self._optimizers)}"
            )
        check_terms(self._stage, terms)
        o = self._optimizers[group]
        values = list(terms.values())
        for name, value in terms.items():
            self.seen.setdefault(name, []).append((self._calls, value.detach()))
        loss = values[0] if len(values) == 1 else torch.stack(values).sum()
        if not loss.requires_grad:
            raise ContractError(
                f"stage {self._stage}: the terms {', '.join(terms)} do not depend on any trainable parameter"
            )
        with self._accelerator.autocast(on=False):
            o.optimizer.zero_grad(set_to_none=True)
            self._accelerator.backward(loss, o.parameters)
            self._accelerator.average_gradients(o.parameters)
            if o.recipe.clip:
                torch.nn.utils.clip_grad_norm_(o.parameters, o.recipe.clip)
            o.optimizer.step()
        self.counts[group] = self.counts.get(group, 0) + 1
