"""A stage: one training inside a method, written down as a frozen value."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from ..errors import ContractError
from .batch import Batch
from .modality import Modality
from .options import Options
from .recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..networks.modules import Classifier, Encoder, Frozen, Fusion, Head, Nets

Terms = Mapping[str, "Tensor"]
"""Named summands of a loss, each a scalar."""


class Bench(Protocol):
    """What `Stage.build` is given. It knows no path, no split and no seed.

    Networks of one role start from the same weights in every method that runs under the same seed.
    """

    @property
    def num_classes(self) -> int: ...

    @property
    def num_train(self) -> int:
        """Training samples that this stage's batches are drawn from."""
        ...

    def modality(self, name: str) -> Modality:
        """Kind and shape of a modality."""
        ...

    def fits(self, modality: str, fed: str) -> bool:
        """Whether the backbone chosen for `modality` can look at `fed`."""
        ...

    def features(self, modality: str) -> int:
        """Width D of the pooled features that the backbone chosen for `modality` gives of it."""
        ...

    def encoder(self, modality: str, *, fed: str | None = None) -> Encoder:
        """The backbone chosen for `modality`. With `fed`, its stem takes that modality's channels instead.

        It starts as the encoder of a classifier does, whatever stands between that one and its logits.
        """
        ...

    def classifier(
        self, modality: str, *, fed: str | None = None, bottleneck: int | None = None
    ) -> Classifier:
        """Encoder and linear head: batch -> Output. With `fed`, the architecture of `modality`, looking at
        `fed`.

        With `bottleneck`, a linear layer of that width and a ReLU stand between pooled features and head.
        """
        ...

    def fusion(self, *modalities: str) -> Fusion:
        """One network over several modalities: a trunk each, joined maps (or joined pooled features), one
        head.
        """
        ...

    def head(self, features: int) -> Head:
        """Linear (B, features) -> logits (B, K)."""
        ...

    def frozen(self, stage: Stage) -> Frozen:
        """What `stage` delivered: trained, in evaluation mode for good, without gradients of its own."""
        ...

    def trainable(self, stage: Stage) -> nn.Module:
        """A copy of what `stage` delivered, to be trained further."""
        ...

    def note(self, text: str) -> None:
        """Tells what the setting makes this stage do differently; records and the leaderboard show it."""
        ...


class Step(Protocol):
    """What `Stage.update` is given: minimises named terms for one group of modules."""

    def __call__(self, terms: Terms, group: str = "main") -> None:
        """Sums `terms`, back-propagates, and takes one optimiser step on `group`; nothing else moves."""
        ...


@dataclass(frozen=True)
class Group:
    """Modules that share an optimiser; `changes`: fields of the stage's recipe that differ for them."""

    modules: tuple[nn.Module, ...]
    changes: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """Base of all stages. A subclass is a frozen dataclass whose fields are plain values, tuples, options, or
    other stages.

    A field of a subclass of `pm.Options` holds the options that this class declares, and no others: give it
    the options of the whole method.

    Fields, source code, data and recipe make its key; two stages with equal keys are one and are trained
    once. `replica` tells apart stages that are equal in all but the random draw.

    A stage trains on the samples that have a label and every modality it reads. With "unlabelled" in
    `handles` it also trains on samples without a label, with "unpaired" those that lack a modality (the mask
    is `batch.present`). A stage with `trains = False` only puts together what its parents delivered.
    """

    handles: ClassVar[frozenset[str]] = frozenset()
    trains: ClassVar[bool] = True

    replica: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        for name, kind in _option_fields(type(self)).items():  # type: ignore[arg-type]
            value = getattr(self, name)
            if not isinstance(value, Options):
                raise ContractError(
                    f"stage {type(self).__name__}: field {name!r} is {value!r}; expected {kind.__name__}"
                )
            object.__setattr__(self, name, value.only(kind))

    @property
    def reads(self) -> tuple[str, ...]:
        """Modalities in this stage's batches."""
        raise NotImplementedError(f"{type(self).__name__} does not declare the modalities it reads")

    def build(self, bench: Bench) -> Nets:
        """The stage's networks."""
        raise NotImplementedError(f"{type(self).__name__} builds no networks")

    def losses(self, nets: Nets, batch: Batch) -> Terms:
        """Named loss terms, each a scalar; their sum is minimised."""
        raise NotImplementedError(f"{type(self).__name__} has neither losses nor update")

    def update(self, nets: Nets, batch: Batch, step: Step) -> None:
        """One training step. Overridden where several optimisers take turns."""
        step(self.losses(nets, batch))

    def groups(self, nets: Nets) -> Mapping[str, Group]:
        """The modules each optimiser moves, by name. Every trainable parameter is in exactly one group."""
        return {"main": Group((nets,))}

    def deliver(self, nets: Nets) -> nn.Module:
        """What later stages, or the evaluator, receive. The evaluator needs batch -> Output."""
        return nets.student

    def recipe(self, standard: Recipe) -> Recipe:
        """The standard recipe, or this stage's departure from it."""
        return standard

    def end_epoch(self, nets: Nets) -> None:
        """Called after the last batch of an epoch, for state in buffers of `nets` that moves by epochs."""

    @property
    def parents(self) -> tuple[Stage, ...]:
        """Stages among the fields, in the order of the fields."""
        return tuple(_stages(getattr(self, f.name) for f in dataclasses.fields(self)))

    def walk(self) -> Iterator[Stage]:
        """This stage and all it rests on, parents first; equal stages once."""
        seen: set[Stage] = set()
        yield from _walk(self, seen)


@functools.cache
def _option_fields(stage: type) -> Mapping[str, type[Options]]:
    """Option fields of a stage class: name -> subclass of Options."""
    hints = typing.get_type_hints(stage)
    kinds = {f.name: hints[f.name] for f in dataclasses.fields(stage)}
    return {
        name: kind for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, Options)
    }


def _stages(values: Any) -> Iterator[Stage]:
    for value in values:
        if isinstance(value, Stage):
            yield value
        elif isinstance(value, tuple):
            yield from _stages(value)


def _walk(stage: Stage, seen: set[Stage]) -> Iterator[Stage]:
    try:
        if stage in seen:
            return
    except TypeError as error:
        raise ContractError(
            f"stage {type(stage).__name__} has a field that cannot be hashed: {error}",
            "use plain values, tuples and stages as fields, and @dataclass(frozen=True)",
        ) from error
    for parent in stage.parents:
        yield from _walk(parent, seen)
    seen.add(stage)
    yield stage
