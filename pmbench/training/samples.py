"""Training and validation samples of a protocol, and the statistics that normalize their inputs."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from ..contracts.protocol import Protocol
from ..contracts.samples import Column, CropParams
from ..contracts.stage import Stage
from ..data.prepared import Prepared
from ..errors import DataError, TrainingError, Unsupported
from ..seeding import generator

VALIDATION_SHARE = 0.15
FRAMES_LOOKED_AT = 512
NUMBERS_AT_ONCE = 1 << 22
"""Of which mean and deviation are taken in one piece: 32 MB, some of them at a time."""


@dataclass(frozen=True)
class ChannelStats:
    """Mean and std per channel (C,) over the training samples; a network sees (x - mean) / std."""

    mean: np.ndarray
    std: np.ndarray

    def shaped(self, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
        """Both as (C, 1, ...) for samples of `dimensions` axes."""
        shape = (-1,) + (1,) * (dimensions - 1)
        return self.mean.reshape(shape), self.std.reshape(shape)


@dataclass(frozen=True)
class TrainingSamples:
    """Rows of one part: `rows` (n,) into its columns, `labels` (n,), -1 where unlabelled."""

    part: str
    rows: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class TrainingView:
    """What a protocol and a seed make of a data set, before any stage looks at it.

    `thinned` maps a modality that the protocol takes from some training samples to a mask over `train.rows`.
    """

    prepared: Prepared
    protocol: Protocol
    train: TrainingSamples
    validation: TrainingSamples
    thinned: dict[str, np.ndarray]

    def column(self, part: str, modality: str) -> Column:
        return self.prepared.column(part, modality, self.protocol)

    def present_of(self, modality: str) -> np.ndarray | None:
        """(n,) which training samples have a modality; None where all do."""
        stored = self.column(self.train.part, modality).present
        if stored is None:
            return self.thinned.get(modality)
        return stored[self.train.rows] & self.thinned.get(modality, True)

    def validation_for(self, stage: Stage) -> TrainingSamples:
        """The validation samples that have all that a stage reads."""
        v, keep = self.validation, np.ones(len(self.validation.rows), bool)
        for modality in stage.reads:
            stored = self.column(v.part, modality).present
            keep &= True if stored is None else stored[v.rows]
        return TrainingSamples(v.part, v.rows[keep], v.labels[keep])

    @property
    def count(self) -> int:
        """Training samples of the protocol, labelled or not: an epoch's length."""
        return len(self.train.rows)

    def indices_for(self, stage: Stage) -> np.ndarray:
        """Positions in `train` of the samples that `stage` trains on; raises Unsupported if none is left."""
        keep = np.ones(self.count, bool)
        if "unlabelled" not in stage.handles:
            keep &= self.train.labels >= 0
        if "unpaired" not in stage.handles:
            for modality in stage.reads:
                present = self.present_of(modality)
                keep &= True if present is None else present
        if not keep.any():
            raise Unsupported(
                f"stage {type(stage).__name__} is left without training samples by this protocol"
            )
        return np.flatnonzero(keep)

    def channel_stats(self, modality: str) -> ChannelStats:
        """Standardisation of a modality, over the training samples that have it; of what is stored as frames,
        over at most FRAMES_LOOKED_AT of them.
        """
        column = self.column(self.train.part, modality)
        present, rows = self.present_of(modality), self.train.rows
        if present is not None:
            rows = rows[present]
        if column.array is None and len(rows) > FRAMES_LOOKED_AT:
            rows = rows[np.linspace(0, len(rows) - 1, FRAMES_LOOKED_AT).round().astype(int)]
        if not len(rows):
            raise Unsupported(
                f"no training sample has modality {modality!r} under protocol {self.protocol.name!r}"
            )
        count, total, squares = 0, np.zeros(()), np.zeros(())
        most = 2048 if column.array is not None else 32
        together = max(1, min(most, NUMBERS_AT_ONCE // prod(column.shape)))
        for chunk in np.array_split(rows, max(1, len(rows) // together)):
            x = read_rows(column, chunk).astype(np.float64)
            flat = np.moveaxis(x, 1, 0).reshape(x.shape[1], -1)
            count += flat.shape[1]
            total = total + flat.sum(1)
            with np.errstate(over="ignore"):
                squares = squares + (flat**2).sum(1)
        mean = total / count
        with np.errstate(over="ignore", invalid="ignore"):
            deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
        if not (np.isfinite(mean).all() and np.isfinite(deviation).all()):
            raise TrainingError(
                f"inputs of modality {modality!r} in part {self.train.part!r} are not all finite"
            )
        deviation[deviation <= 1e-6 * np.abs(mean)] = 1.0  # constant but for rounding, whatever the unit
        return ChannelStats(mean.astype(np.float32), deviation.astype(np.float32))


def read_rows(column: Column, rows: np.ndarray, crops: Sequence[CropParams] | None = None) -> np.ndarray:
    """The given samples of a column, (n, *shape), without `crops` at their center."""
    if column.array is not None:
        return np.asarray(column.array[rows])
    crops = crops or [CropParams()] * len(rows)
    return np.stack([column.read(int(row), crop) for row, crop in zip(rows, crops, strict=True)])


def training_view(prepared: Prepared, protocol: Protocol, seed: int) -> TrainingView:
    """Carves validation data out, hides labels and drops privileged modalities as the protocol says.

    The carve-out is frozen: it depends on the data set alone. Which labels and which privileged samples stay
    is drawn by seed, the same for every method.
    """
    split = protocol.split
    labels = prepared.labels(split.train)
    if split.validation is None:
        chosen = carve(prepared, protocol)
        train, validation = np.flatnonzero(~chosen), np.flatnonzero(chosen)
        validation_labels = labels[validation]
    else:
        train = np.arange(len(labels))
        validation_labels = prepared.labels(split.validation)
        validation = np.arange(len(validation_labels))
    train_labels = labels[train].copy()
    if protocol.labels_per_class is not None:
        classes = len(prepared.dataset.classes)
        train_labels = _few(train_labels, classes, protocol, generator(seed, "labels", "train"))
        validation_labels = _few(
            validation_labels, classes, protocol, generator(seed, "labels", "validation")
        )
    labelled = validation_labels >= 0
    present = {}
    if protocol.paired_percent < 100:
        keep = generator(seed, "paired").permutation(len(train)) < round(
            len(train) * protocol.paired_percent / 100
        )
        present = dict.fromkeys(protocol.privileged, keep)
    return TrainingView(
        prepared,
        protocol,
        TrainingSamples(split.train, train, train_labels),
        TrainingSamples(split.validation or split.train, validation[labelled], validation_labels[labelled]),
        present,
    )


def carve(prepared: Prepared, protocol: Protocol) -> np.ndarray:
    """(N,) bool over the training part: the samples set aside for validation, whole groups where there are
    groups.
    """
    split = protocol.split
    ids, groups = prepared.index(split.train)
    labels = prepared.labels(split.train)
    if groups is None:
        chosen = np.zeros(len(ids), bool)
        order = np.array([_hash(i) for i in ids])
        for label in np.unique(labels[labels >= 0]):
            members = np.flatnonzero(labels == label)
            take = max(1, round(len(members) * VALIDATION_SHARE))
            chosen[members[np.argsort(order[members], kind="stable")[:take]]] = True
        return chosen
    names = np.array(groups)
    if split.validation_groups:
        absent = set(split.validation_groups) - set(groups)
        if absent:
            raise DataError(
                f"data set {prepared.dataset.name!r}: no validation groups {sorted(absent)} in "
                f"{split.train!r}"
            )
        return np.isin(names, split.validation_groups)
    sizes, held, aside = Counter(groups), 0, []
    for name in sorted(sizes, key=_hash):
        if held / len(ids) >= VALIDATION_SHARE:
            break
        aside.append(name)
        held += sizes[name]
    chosen = np.isin(names, aside)
    if chosen.all():
        raise DataError(
            f"data set {prepared.dataset.name!r}: one group only, so none can be set aside for validation"
        )
    return chosen


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")


def _few(labels: np.ndarray, classes: int, protocol: Protocol, rng: np.random.Generator) -> np.ndarray:
    """Keeps K labels of each class and hides the others."""
    kept = np.full_like(labels, -1)
    for label in range(classes):
        members = np.flatnonzero(labels == label)
        take = rng.permutation(members)[: protocol.labels_per_class]
        kept[take] = label
    return kept
