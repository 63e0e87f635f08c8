"""Streams trained together while modalities are dropped, so that one may be missing at test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pmbench as pm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from .networks import Instead

IMAGES = ("image", "clip")
"""Kinds of modalities whose elements are dropped."""


@dataclass(frozen=True)
class DropOptions(pm.Options):
    drop: float = pm.option(0.1, "probability that a sample loses a modality", within="[0, 1)")
    elements: float = pm.option(
        0.2, "dropout rate of the elements of images and clips at the input", within="[0, 1)"
    )
    stream: Literal["both", "target"] = pm.option(
        "both", "test the mean of the logits of all streams, or the target stream alone"
    )


@dataclass(frozen=True)
class ModdropOptions(DropOptions):
    fill: Literal["zeros", "mean"] = pm.option(
        "zeros", "what a missing input is: what the data set writes as 0, or the training mean"
    )
    level: Literal["input", "feature"] = pm.option(
        "input", "what is missing: the input, or the pooled features, which are then 0"
    )


@dataclass(frozen=True)
class Dropping(pm.Stage):
    """Finished streams, fine-tuned on the mean of their logits while samples lose modalities.

    CE((1/M) sum_m f_m(x_m), y), with x_m, or its pooled features, replaced where m is missing: for each
    sample and modality with probability `drop`, but never all modalities of a sample; one that the data set
    lacks is missing, too. Elements of images are dropped with rate `elements`. Delivered: the same mean, with
    every modality but the target missing.
    """

    streams: tuple[pm.Stage, ...]
    target: str
    options: DropOptions = DropOptions()

    handles = frozenset({"unpaired"})

    @property
    def reads(self) -> tuple[str, ...]:
        return pm.LateFusion(self.streams).reads

    def instead(self, bench: pm.Bench, modality: str, stream: pm.Classifier) -> Instead:
        """What takes the place of a missing modality."""
        raise NotImplementedError

    def nothing(self, bench: pm.Bench, modality: str) -> Tensor:
        """What an element is that is missing: the raw zero of each channel, (C, 1, ...)."""
        mean, std = bench.channel_stats(modality)
        return (-mean / std).view(-1, *(1,) * (len(bench.modality(modality).shape) - 1))

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .networks import Elements, Streams, Without

        streams: dict[str, Any] = {s.reads[0]: bench.trainable(s) for s in self.streams}
        instead = {m: self.instead(bench, m, stream) for m, stream in streams.items()}
        rate, images = self.options.elements, [m for m in streams if bench.modality(m).kind in IMAGES]
        elements = {m: Elements(rate, self.nothing(bench, m)) for m in images if rate}
        return pm.Nets(student=Without(Streams(streams, instead, elements), self.target))

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        missing = drawn({m: batch.present(m) for m in self.reads}, self.options.drop)
        whole: Any = nets.student.whole
        return {"ce": pm.cross_entropy(whole.logits(batch, missing), batch.labels)}

    def deliver(self, nets: pm.Nets) -> Any:
        student: Any = nets.student
        return student if self.options.stream == "both" else student.whole.streams[self.target]


@dataclass(frozen=True)
class DropInputs(Dropping):
    """A missing modality is a constant input, or constant features (ModDrop, arXiv:1501.00102)."""

    options: ModdropOptions = ModdropOptions()

    def instead(self, bench: pm.Bench, modality: str, stream: pm.Classifier) -> Instead:
        import torch

        from .networks import Instead

        if self.options.level == "feature":
            return Instead(torch.zeros(stream.head.in_features), None)
        return Instead(self.nothing(bench, modality), bench.modality(modality).shape)

    def nothing(self, bench: pm.Bench, modality: str) -> Tensor:
        zero = super().nothing(bench, modality)
        return zero if self.options.fill == "zeros" else 0 * zero


@dataclass(frozen=True)
class LearnTokens(Dropping):
    """The features of a missing modality are one learned vector (arXiv:2401.11470)."""

    def instead(self, bench: pm.Bench, modality: str, stream: pm.Classifier) -> Instead:
        import torch

        from .networks import Instead

        return Instead(torch.zeros(stream.head.in_features), None, learned=True)


def drawn(present: Mapping[str, Tensor], rate: float) -> dict[str, Tensor]:
    """Modality -> (B,) bool, where it is missing: absent, or dropped with probability `rate`.

    A sample that would have nothing left keeps one of its modalities, drawn at random.
    """
    import torch

    names, there = list(present), torch.stack(list(present.values()), 1)
    missing = ~there
    if rate:
        missing = missing | (torch.rand(there.shape, device=there.device) < rate)
        kept = (torch.rand(there.shape, device=there.device) * there).argmax(1)
        empty = missing.all(1)
        missing[empty, kept[empty]] = False
    return {m: missing[:, i] for i, m in enumerate(names)}
