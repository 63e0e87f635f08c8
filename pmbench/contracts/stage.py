"""Stages: one training inside a method, declared as a frozen value."""

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
    """Builds networks; the argument of `Stage.build`. It exposes no path, split or seed.

    Networks of one role start from the same weights in every method under one seed.
    """

    @property
    def num_classes(self) -> int:
        """Number of classes K."""
        ...

    @property
    def num_train(self) -> int:
        """Number of this stage's training samples."""
        ...

    @property
    def labels(self) -> Tensor:
        """(num_train,) classes of this stage's training samples in [0, K), -1 for those without a label.

        `labels[batch.index]` are `batch.labels`: what the protocol hides is hidden here too. All are -1 where
        a finished stage is built again, so no shape may depend on them.
        """
        ...

    def modality(self, name: str) -> Modality:
        """Kind and shape of a modality."""
        ...

    def channel_stats(self, modality: str) -> tuple[Tensor, Tensor]:
        """Mean and std (C,) of a modality's channels over the training samples, in its unit.

        Batches hold (x - mean) / std: what the data set writes as 0 is -mean / std there. Keep what is made
        of them in a buffer: a network rebuilt for finished weights gets mean 0 and std 1 first.
        """
        ...

    def fits(self, modality: str, fed: str) -> bool:
        """Whether the backbone of `modality` accepts the modality `fed`."""
        ...

    def features(self, modality: str) -> int:
        """Width D of the pooled features of `modality`'s backbone."""
        ...

    def encoder(self, modality: str, *, fed: str | None = None) -> Encoder:
        """The backbone of `modality`; with `fed`, its stem takes that modality's channels instead.

        Its init equals that of the encoder of `classifier`, with any bottleneck.
        """
        ...

    def classifier(
        self,
        modality: str,
        *,
        fed: str | None = None,
        bottleneck: int | None = None,
        backbone: str | None = None,
    ) -> Classifier:
        """Encoder and linear head, batch -> Output; with `fed`, the architecture of `modality` on `fed`.

        `bottleneck` adds a linear layer of that width and a ReLU between pooled features and head. `backbone`
        names another backbone than the modality's, one of the stage's `backbones`; it starts from random
        weights.
        """
        ...

    def fusion(self, *modalities: str) -> Fusion:
        """One network over several modalities: a trunk each, joined maps or pooled features, one head."""
        ...

    def head(self, features: int) -> Head:
        """Linear (B, features) -> logits (B, K)."""
        ...

    def frozen(self, stage: Stage) -> Frozen:
        """The artifact of `stage`, always in evaluation mode, with frozen parameters."""
        ...

    def trainable(self, stage: Stage) -> nn.Module:
        """A trainable copy of the artifact of `stage`."""
        ...

    def note(self, text: str) -> None:
        """Records how the setting changes this stage; records and the leaderboard show the note."""
        ...


class Step(Protocol):
    """One optimizer step; the last argument of `Stage.update`."""

    def __call__(self, terms: Terms, group: str = "main") -> None:
        """Backpropagates the sum of `terms` and steps the optimizer of `group`; other parameters stay."""
        ...


@dataclass(frozen=True)
class Group:
    """`modules` that share an optimizer; `changes` overrides fields of the stage's recipe for them."""

    modules: tuple[nn.Module, ...]
    changes: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """Base class of stages: a frozen dataclass whose fields are plain values, tuples, options or stages.

    A field whose type is a subclass of `pm.Options` takes the options of the whole method and holds those
    that its type declares. Raises ContractError for other values.

    Fields, source code, data and recipe determine the key; stages with equal keys are trained once.
    `replica` distinguishes stages that differ only in their random draws.

    A stage trains on samples with a label and every modality in `reads`. "unlabelled" in `handles` adds
    samples without a label, "unpaired" samples without some modality (see `batch.present`). A stage with
    `trains = False` only combines the artifacts of its parents. `in_batch = True` says that loss terms relate
    the samples of a batch to each other, or are no means over them: several devices, each with a part of the
    batch, would compute other terms, so the stage is trained on one device.
    """

    handles: ClassVar[frozenset[str]] = frozenset()
    trains: ClassVar[bool] = True
    in_batch: ClassVar[bool] = False

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
        """Modalities in the stage's batches."""
        raise NotImplementedError(f"{type(self).__name__} does not declare the modalities it reads")

    @property
    def backbones(self) -> tuple[str, ...]:
        """Names of the backbones it builds besides those of its modalities; they are part of its key."""
        return ()

    @property
    def samples_per_class(self) -> int:
        """Labelled samples of each class that a batch draws, for losses over pairs of one class.

        With 0, the default, batches are drawn from all labelled samples. With k, a batch of B labelled
        samples has k each of B / k classes; a class with fewer than k repeats some.
        """
        return 0

    def build(self, bench: Bench) -> Nets:
        """The stage's networks."""
        raise NotImplementedError(f"{type(self).__name__} builds no networks")

    def losses(self, nets: Nets, batch: Batch) -> Terms:
        """Named loss terms, each a scalar; their sum is minimised."""
        raise NotImplementedError(f"{type(self).__name__} has neither losses nor update")

    def update(self, nets: Nets, batch: Batch, step: Step) -> None:
        """One training step. Override it for alternating optimizers."""
        step(self.losses(nets, batch))

    def groups(self, nets: Nets) -> Mapping[str, Group]:
        """Modules of each optimizer by group name. Every trainable parameter is in exactly one group."""
        return {"main": Group((nets,))}

    def deliver(self, nets: Nets) -> nn.Module:
        """The artifact for later stages or, as batch -> Output, for the evaluator."""
        return nets.student

    def recipe(self, standard: Recipe) -> Recipe:
        """The stage's recipe, by default the `standard` one."""
        return standard

    def end_epoch(self, nets: Nets) -> None:
        """Called after the last batch of each epoch, for state in buffers of `nets`."""

    @property
    def parents(self) -> tuple[Stage, ...]:
        """Stages among the fields, in order."""
        return tuple(_stages(getattr(self, f.name) for f in dataclasses.fields(self)))

    def walk(self) -> Iterator[Stage]:
        """This stage and its ancestors, parents first, equal stages once."""
        seen: set[Stage] = set()
        yield from _walk(self, seen)


@functools.cache
def _option_fields(stage: type) -> Mapping[str, type[Options]]:
    """Option fields of a stage class: name -> subclass of Options."""
    hints = typing.get_type_hints(stage)
    found = ((f.name, hints[f.name]) for f in dataclasses.fields(stage))
    return {name: kind for name, kind in found if isinstance(kind, type) and issubclass(kind, Options)}


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
