"""Training and validation samples of a protocol, and the channel statistics that normalize them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..contracts.protocol import Protocol
from ..contracts.samples import Column, CropParams
from ..contracts.stage import Stage
from ..data.carve import carve
from ..data.prepared import Prepared
from ..errors import TrainingError, Unsupported
from ..seeding import generator
from .placebo import noise, shuffled

STATS_SAMPLES = 512
"""Largest number of samples stored as frames from which channel statistics are computed."""
CHUNK_NUMBERS = 1 << 22
"""Numbers in one chunk of channel statistics: 32 MB in float64."""


@dataclass(frozen=True)
class ChannelStats:
    """Mean and std per channel (C,) over the training samples; a network sees (x - mean) / std."""

    mean: np.ndarray
    std: np.ndarray

    def shaped(self, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean and std as (C, 1, ...), to broadcast over samples of `dimensions` axes."""
        shape = (-1,) + (1,) * (dimensions - 1)
        return self.mean.reshape(shape), self.std.reshape(shape)


def channel_stats_of(stage: Mapping[str, Any]) -> dict[str, ChannelStats]:
    """Modality -> channel statistics of a finished stage, from the content of its `stage.json`."""
    return {
        m: ChannelStats(np.asarray(s["mean"], np.float32), np.asarray(s["std"], np.float32))
        for m, s in stage["channel_stats"].items()
    }


@dataclass(frozen=True)
class TrainingSamples:
    """Samples of one part: `rows` (n,) of its columns, `labels` (n,), -1 for an unlabelled sample."""

    part: str
    rows: np.ndarray
    labels: np.ndarray

    def first(self, share: float) -> TrainingSamples:
        """The first samples, a `share` in (0, 1] of them."""
        count = math.ceil(share * len(self.rows))
        return TrainingSamples(self.part, self.rows[:count], self.labels[:count])


@dataclass(frozen=True)
class TrainingView:
    """Training and validation samples under a protocol and a seed, the same for all stages.

    `thinned` maps a modality that the protocol removes from some training samples to a mask over
    `train.rows`. `placebo` is "shuffle", "noise" or empty.
    """

    prepared: Prepared
    protocol: Protocol
    train: TrainingSamples
    validation: TrainingSamples
    thinned: dict[str, np.ndarray]
    placebo: str = ""
    seed: int = 0

    def column(self, part: str, modality: str) -> Column:
        return self.prepared.column(part, modality, self.protocol)

    def seen(self, role: Literal["train", "validation"], modality: str) -> Column:
        """The column from which stages read these samples: the real one, or a privileged modality's placebo.

        Training and validation samples that have the modality are shuffled among themselves; noise has the
        channel mean and std of the training samples.
        """
        samples = self.train if role == "train" else self.validation
        column = self.column(samples.part, modality)
        if not self.placebo or modality not in self.protocol.privileged:
            return column
        if self.placebo == "noise":
            stats = self.channel_stats(modality)
            return noise(column, stats.mean, stats.std, self.seed, f"{samples.part}/{modality}")
        present = None if column.present is None else column.present[samples.rows]
        if role == "train":
            present = self.present_of(modality)
        rows = samples.rows if present is None else samples.rows[present]
        return shuffled(column, rows, self.seed, role)

    def present_of(self, modality: str) -> np.ndarray | None:
        """(n,) bool mask of the training samples that have a modality; None if all do."""
        stored = self.column(self.train.part, modality).present
        if stored is None:
            return self.thinned.get(modality)
        return stored[self.train.rows] & self.thinned.get(modality, True)

    def validation_for(self, stage: Stage) -> TrainingSamples:
        """Validation samples that have every modality that a stage reads."""
        v, keep = self.validation, np.ones(len(self.validation.rows), bool)
        for modality in stage.reads:
            stored = self.column(v.part, modality).present
            keep &= True if stored is None else stored[v.rows]
        return TrainingSamples(v.part, v.rows[keep], v.labels[keep])

    @property
    def count(self) -> int:
        """Number of training samples of the protocol, labelled or not: the length of an epoch."""
        return len(self.train.rows)

    def indices_for(self, stage: Stage) -> np.ndarray:
        """(n,) positions in `train` of the samples that `stage` trains on; raises Unsupported if none."""
        keep = np.ones(self.count, bool)
        if "unlabelled" not in stage.handles:
            keep &= self.train.labels >= 0
        if "unpaired" not in stage.handles:
            for modality in stage.reads:
                present = self.present_of(modality)
                keep &= True if present is None else present
        if not keep.any():
            raise Unsupported(f"stage {type(stage).__name__} has no training samples under this protocol")
        return np.flatnonzero(keep)

    def channel_stats(self, modality: str) -> ChannelStats:
        """Mean and std by channel over the training samples that have a modality.

        Of samples stored as frames at most STATS_SAMPLES are read. Raises Unsupported if no training sample
        has the modality, TrainingError if its values are not finite.
        """
        column = self.column(self.train.part, modality)
        present, rows = self.present_of(modality), self.train.rows
        if present is not None:
            rows = rows[present]
        if column.array is None and len(rows) > STATS_SAMPLES:
            rows = rows[np.linspace(0, len(rows) - 1, STATS_SAMPLES).round().astype(int)]
        if not len(rows):
            raise Unsupported(
                f"no training sample has modality {modality!r} under protocol {self.protocol.name!r}"
            )
        count, total, squares = 0, np.zeros(()), np.zeros(())
        limit = 2048 if column.array is not None else 32
        size = max(1, min(limit, CHUNK_NUMBERS // math.prod(column.shape)))
        for chunk in np.array_split(rows, max(1, len(rows) // size)):
            x = read_rows(column, chunk).astype(np.float64)
            flat = np.moveaxis(x, 1, 0).reshape(x.shape[1], -1)
            count += flat.shape[1]
            total = total + flat.sum(1)
            with np.errstate(over="ignore"):
                squares = squares + (flat**2).sum(1)
        mean = total / count
        with np.errstate(over="ignore", invalid="ignore"):
            std = np.sqrt(np.maximum(squares / count - mean**2, 0))
        if not (np.isfinite(mean).all() and np.isfinite(std).all()):
            raise TrainingError(
                f"inputs of modality {modality!r} in part {self.train.part!r} are not all finite"
            )
        std[std <= 1e-6 * np.abs(mean)] = 1.0  # constant except for rounding
        return ChannelStats(mean.astype(np.float32), std.astype(np.float32))


def read_rows(column: Column, rows: np.ndarray, crops: Sequence[CropParams] | None = None) -> np.ndarray:
    """Samples `rows` (n,) of a column as (n, *shape); center crops unless `crops` are given."""
    if column.array is not None:
        return np.asarray(column.array[rows])
    crops = crops or [CropParams()] * len(rows)
    return np.stack([column.read(int(row), crop) for row, crop in zip(rows, crops, strict=True)])


def training_view(prepared: Prepared, protocol: Protocol, seed: int, placebo: str = "") -> TrainingView:
    """The view under a protocol and a seed: validation data set aside, labels hidden, modalities thinned.

    The validation samples depend on the data set alone. The seed draws the labels and the privileged samples
    that are kept, the same for every method.
    """
    split = protocol.split
    labels = prepared.labels(split.train)
    if split.validation is None:
        held_out = carve(prepared.dataset.name, split, (*prepared.index(split.train), labels))
        train, validation = np.flatnonzero(~held_out), np.flatnonzero(held_out)
        validation_labels = labels[validation]
    else:
        train = np.arange(len(labels))
        validation_labels = prepared.labels(split.validation)
        validation = np.arange(len(validation_labels))
    train_labels = labels[train].copy()
    if protocol.labels_per_class is not None:
        train_labels = _few(train_labels, protocol, generator(seed, "labels", "train"))
        validation_labels = _few(validation_labels, protocol, generator(seed, "labels", "validation"))
    labelled = validation_labels >= 0
    thinned = {}
    if protocol.paired_percent < 100:
        count = round(len(train) * protocol.paired_percent / 100)
        keep = generator(seed, "paired").permutation(len(train)) < count
        thinned = dict.fromkeys(protocol.privileged, keep)
    return TrainingView(
        prepared,
        protocol,
        TrainingSamples(split.train, train, train_labels),
        TrainingSamples(split.validation or split.train, validation[labelled], validation_labels[labelled]),
        thinned,
        placebo,
        seed,
    )


def _few(labels: np.ndarray, protocol: Protocol, rng: np.random.Generator) -> np.ndarray:
    """Labels (n,) of K samples of each class; -1 for the others."""
    kept = np.full_like(labels, -1)
    for label in range(labels.max(initial=-1) + 1):
        kept[rng.permutation(np.flatnonzero(labels == label))[: protocol.labels_per_class]] = label
    return kept
