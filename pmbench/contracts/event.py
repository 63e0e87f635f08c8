"""What `pmbench_epoch_finished` is called with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class EpochValues:
    """What a training measured in an epoch, with the meanings of `Epoch`."""

    terms: Mapping[str, float]
    metric: str
    validation: float | None
    seconds: float


@dataclass(frozen=True)
class Epoch:
    """A finished epoch of a stage that a run is training. A stage that is reused has none.

    A stage whose process died goes on from its last checkpoint, so an epoch can come twice; the later one
    counts.
    """

    key: str
    """Key of the stage, 64 hexadecimal digits; `record.stages` of its cells have the same."""
    stage: str
    """Name of the stage's class."""
    reads: tuple[str, ...]
    """Modalities in its batches."""
    methods: tuple[str, ...]
    """Methods of the run whose cells use the stage, sorted."""
    dataset: str
    """Name of the data set."""
    protocol: str
    """Name of the protocol."""
    seed: int
    """Seed of the cells."""
    placebo: str
    """`shuffle` or `noise` if that took the place of the privileged modalities, else empty."""
    epoch: int
    """Number of the epoch, from 1."""
    epochs: int
    """Epochs of the recipe."""
    terms: Mapping[str, float]
    """Loss terms by name, each the sum over the epoch's steps, divided by their number."""
    metric: str
    """Name of the metric on validation data."""
    validation: float | None
    """Value of `metric` in its own unit; None if the stage does not classify, or has no validation data."""
    seconds: float
    """Time that training and validation of the epoch took."""
