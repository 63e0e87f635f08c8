"""Estimates of how long stages train and how large they are, from stored stages and from timed steps."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from ..store.listing import Entry
from ..training.samples import training_view
from ..training.schedule import AUDITED_BYTES
from .plan import Plan, PlannedStage

Sign = tuple[str, ...]
"""What stages have in common whose steps take equally long; the first item is the class, or empty."""


@dataclass(frozen=True)
class Rate:
    """What a training cost: seconds of a step, of its process besides, and bytes, fixed and of an epoch."""

    step: float
    besides: float
    size: int
    epoch_size: int = 0


@dataclass(frozen=True)
class Estimate:
    """Seconds and bytes of a stage that is not stored."""

    seconds: float
    size: float


class Rates:
    """Rates by sign, of stored stages first, then of timed ones."""

    def __init__(self, entries: Iterable[Entry], timed: Mapping[Sign, Sequence[Rate]], device: str) -> None:
        self._found: dict[Sign, list[Rate]] = defaultdict(list)
        for entry in entries:
            place = entry.device or device
            if (
                not entry.steps
                or entry.seconds is None
                or place.partition(":")[0] != device.partition(":")[0]
            ):
                continue
            if entry.name is None or entry.dataset is None:
                continue
            whole = entry.seconds if entry.process_seconds is None else entry.process_seconds
            rate = Rate(entry.seconds / entry.steps, max(0.0, whole - entry.seconds), *sizes(entry))
            for sign in _signs(entry.name, entry.dataset, str(entry.batch_size), entry.backbones):
                self._found[sign].append(rate)
        for sign, rates in timed.items():
            if sign not in self._found:
                for wider in _wider(sign):
                    self._found.setdefault(wider, []).extend(rates)

    @property
    def signs(self) -> set[Sign]:
        """Signs of stored and timed stages."""
        return set(self._found)

    def estimates(self, plan: Plan, nodes: Iterable[PlannedStage]) -> dict[str, Estimate | None]:
        """Key -> estimate; None without a training on the same data.

        It is the median over trainings of the same class, data, batch size and backbones; without one, over
        those that agree in the last three, or in data and batch size.
        """
        middles = {
            sign: (
                median(r.step for r in rates),
                median(r.besides for r in rates),
                median(r.size for r in rates),
                median(r.epoch_size for r in rates),
            )
            for sign, rates in self._found.items()
        }
        counts: dict[tuple[str, str], int] = {}
        found: dict[str, Estimate | None] = {}
        for node in nodes:
            place = node.spec.dataset, node.spec.protocol
            if place not in counts:
                context = node.context
                counts[place] = training_view(plan.prepared[place[0]], context.protocol, context.seed).count
            epochs, batch = node.stage.recipe.epochs, node.stage.recipe.batch_size
            sign = next((s for s in _wider(sign_of(node)) if s in middles), None)
            if sign is None:
                found[node.key] = None
                continue
            step, besides, size, epoch_size = middles[sign]
            seconds = epochs * math.ceil(counts[place] / batch) * step + besides
            of_epochs = epochs * epoch_size
            found[node.key] = Estimate(seconds, size + (of_epochs if of_epochs <= AUDITED_BYTES else 0))
        return found

    @property
    def spread(self) -> tuple[float, float] | None:
        """How much the cost of equal steps varies: the 10 % and 90 % quantile of rate over median rate.

        None if no training of one class, data and backbones was repeated.
        """
        ratios = []
        for sign, rates in self._found.items():
            steps = [rate.step for rate in rates]
            if sign[0] and len(steps) > 1 and (middle := median(steps)) > 0:
                ratios += [step / middle for step in steps]
        if not ratios:
            return None
        cut = quantiles(ratios, n=10, method="inclusive")
        return cut[0], cut[-1]


def sign_of(node: PlannedStage) -> Sign:
    """The narrowest sign of a stage."""
    backbones = [node.context.backbones[name].name for name in node.stage.reads]
    of_data = node.spec.dataset, str(node.stage.recipe.batch_size)
    return next(_signs(node.stage.name_in_keys, *of_data, backbones))


def sizes(entry: Entry) -> tuple[int, int]:
    """Bytes of a stored stage: without the weights of its epochs, and of those of one epoch."""
    each = entry.size // (entry.kept_epochs + 1)
    return each, each if entry.kept_epochs else 0


def _signs(stage: str, dataset: str, batch_size: str, backbones: Iterable[str]) -> Iterator[Sign]:
    names = tuple(sorted(backbones))
    yield (stage, dataset, batch_size, *names)
    yield ("", dataset, batch_size, *names)
    yield ("", dataset, batch_size)


def _wider(sign: Sign) -> Iterator[Sign]:
    stage, dataset, batch_size, *backbones = sign
    return _signs(stage, dataset, batch_size, backbones)
