"""Batches: their order, and reading them, from memory if the data fits, else by threads ahead of the loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..contracts.batch import Batch
from ..contracts.samples import AugmentRng, Column, CropParams
from ..contracts.stage import Stage
from ..seeding import derive, generator
from .samples import ChannelStats, TrainingSamples, TrainingView, read_rows

MEMORY_LIMIT = 4 << 30
"""Largest size in bytes, as float32, of a stage's data that is held as tensors on the device."""
EVALUATION_BATCH = 256
EVALUATION_BYTES = 64 << 20
"""Largest number of samples, and of bytes, in a batch of validation or test data."""


@dataclass(frozen=True)
class Order:
    """Order of the samples in the batches of a training.

    An endless stream of shuffled passes is cut into batches of equal size. With both labelled and unlabelled
    samples, each batch takes half of its samples from either, so that unlabelled samples do not make labels
    rarer. With `per_class`, the labelled samples of a batch are so many of each of some classes: `labels` are
    the classes of `labelled`.
    """

    labelled: np.ndarray
    unlabelled: np.ndarray
    batch_size: int
    steps: int
    seed: int
    labels: np.ndarray | None = None
    per_class: int = 0

    def epoch(self, epoch: int) -> np.ndarray:
        """(steps, batch_size) positions of one epoch."""
        half = 0
        if len(self.unlabelled):
            half = self.batch_size // 2 if len(self.labelled) else self.batch_size
        pools = (("labelled", self.labelled, self.batch_size - half), ("unlabelled", self.unlabelled, half))
        return np.concatenate([self._stream(*pool, epoch) for pool in pools if pool[2]], axis=1)

    def _stream(self, name: str, pool: np.ndarray, width: int, epoch: int) -> np.ndarray:
        """(steps, width) positions of one epoch, from one pool."""
        if name == "labelled" and self.per_class:
            return self._balanced(name, pool, width, epoch)
        size = self.steps * width
        return self._passes(name, pool, epoch * size, size).reshape(self.steps, width)

    def _balanced(self, name: str, pool: np.ndarray, width: int, epoch: int) -> np.ndarray:
        """(steps, width) positions of one epoch, `per_class` neighbours in a batch being of one class.

        The classes come from shuffled passes over all of them, the samples of a class from shuffled passes
        over its own: pass n of the classes takes samples n * `per_class` onwards of each. The last class of a
        batch has fewer where `width` is no multiple.
        """
        assert self.labels is not None, "balanced batches need the labels"
        each = self.per_class
        classes, slots = np.unique(self.labels), -(-width // each)
        size = self.steps * slots
        drawn = self._passes("classes", classes, epoch * size, size)
        numbers = np.arange(epoch * size, epoch * size + size) // len(classes)  # of the pass
        found = np.empty((size, each), dtype=pool.dtype)
        for label in classes:
            own, at = pool[self.labels == label], drawn == label
            if at.any():
                first, last = numbers[at].min(), numbers[at].max()
                stream = self._passes(f"{name} {label}", own, first * each, (last - first + 1) * each)
                found[at] = stream.reshape(-1, each)[numbers[at] - first]
        return found.reshape(self.steps, -1)[:, :width]

    def _passes(self, name: str, pool: np.ndarray, start: int, size: int) -> np.ndarray:
        """(size,) positions from `start` on in the endless stream of shuffled passes over one pool."""
        first, last = start // len(pool), (start + size - 1) // len(pool)
        passes = [generator(self.seed, "order", name, n).permutation(pool) for n in range(first, last + 1)]
        return np.concatenate(passes)[start - first * len(pool) :][:size]


class _BatchRng(AugmentRng):
    """Random numbers for the samples of one process, drawn for the whole batch and then sharded."""

    def __init__(
        self, seed: int, epoch: int, step: int, size: int, shard: tuple[int, int], device: torch.device
    ) -> None:
        self._seed, self._epoch, self._step = seed, epoch, step
        self._size, self._shard, self._device = size, shard, device

    def __call__(self, name: str) -> Tensor:
        rng = torch.Generator().manual_seed(derive(self._seed, "augment", name, self._epoch, self._step))
        rank, world = self._shard
        return torch.rand(self._size, generator=rng)[rank::world].to(self._device)


@dataclass
class TrainingBatches:
    """Training batches of one stage, for process `shard` = (rank, processes).

    `held` maps modalities to tensors on the device; None if `workers` threads read the data instead.
    """

    view: TrainingView
    stage: Stage
    order: Order
    stats: Mapping[str, ChannelStats]
    device: torch.device
    workers: int = 0
    shard: tuple[int, int] = (0, 1)

    def __post_init__(self) -> None:
        self.indices = self.view.indices_for(self.stage)
        samples = self.view.train
        self.rows = samples.rows[self.indices]
        self.labels = torch.from_numpy(samples.labels[self.indices]).to(self.device)
        self.present = {
            name: torch.from_numpy(mask[self.indices]).to(self.device)
            for name in self.stage.reads
            if (mask := self.view.present_of(name)) is not None
        }
        self.held: dict[str, Tensor] | None = None
        self.columns = {m: self.view.seen("train", m) for m in self.stage.reads}
        if fits_in_memory(self.columns, len(self.rows)):
            self.held = {
                name: hold(column, self.rows, self.stats[name], self.device)
                for name, column in self.columns.items()
            }

    def epoch(self, epoch: int, epochs: int) -> Iterator[Batch]:
        """The batches of one epoch of `epochs`, normalized and augmented; absent modalities hold zeros."""
        rank, world = self.shard
        order = np.ascontiguousarray(self.order.epoch(epoch)[:, rank::world])
        dataset, name = self.view.prepared.dataset, type(self.stage).__name__
        index = torch.from_numpy(order).to(self.device)
        read = self._held(index) if self.held is not None else self._streamed(epoch, order)
        steps = self.order.steps
        tensors: Mapping[str, Tensor]
        for step, tensors in enumerate(read):
            rows = index[step]
            if dataset.augments:
                tensors = dataset.augment(tensors, self._rng(epoch, step, self.device))
            present = {m: mask[rows] for m, mask in self.present.items()}
            for m, mask in present.items():
                absent = ~mask.reshape(-1, *(1,) * (tensors[m].dim() - 1))
                tensors = {**tensors, m: tensors[m].masked_fill(absent, 0)}
            yield Batch(
                tensors,
                self.labels[rows],
                rows,
                present,
                epoch=epoch,
                progress=(epoch + step / steps) / epochs,
                stage=name,
            )

    def _held(self, index: Tensor) -> Iterator[dict[str, Tensor]]:
        assert self.held is not None
        held = list(self.held.items())
        for rows in index:
            yield {name: tensor[rows] for name, tensor in held}

    def _streamed(self, epoch: int, order: np.ndarray) -> Iterator[dict[str, Tensor]]:
        reads = zip((self.rows[batch] for batch in order), self._crops(epoch), strict=True)
        for arrays in stream(self.columns, reads, self.workers):
            yield {
                name: normalize(torch.from_numpy(array).to(self.device), self.stats[name])
                for name, array in arrays.items()
            }

    def _crops(self, epoch: int) -> Iterator[dict[str, list[CropParams]]]:
        """Crop parameters of each batch's samples, by modality; modalities on one grid share them."""
        grids = {m.name: m.grid or m.name for m in self.view.prepared.dataset.modalities}
        for step in range(self.order.steps):
            rng = self._rng(epoch, step, torch.device("cpu"))
            times = rng("moment").tolist()
            crops = {}
            for grid in {grids[name] for name in self.columns}:
                drawn = (rng(f"{name} of {grid}").tolist() for name in ("top", "left", "flip"))
                crops[grid] = [
                    CropParams(t, y, x, flip > 0.5) for t, y, x, flip in zip(times, *drawn, strict=True)
                ]
            yield {name: crops[grids[name]] for name in self.columns}

    def _rng(self, epoch: int, step: int, device: torch.device) -> AugmentRng:
        return _BatchRng(self.order.seed, epoch, step, self.order.batch_size, self.shard, device)


Rows = tuple[np.ndarray, Mapping[str, Sequence[CropParams]]]
"""Rows of a batch and their crops by modality; a modality without an entry is cropped at the center."""


def stream(
    columns: Mapping[str, Column], batches: Iterable[Rows], threads: int
) -> Iterator[dict[str, np.ndarray]]:
    """Batches in order, each modality -> (n, *shape); `threads` batches are read ahead, with 0 none.

    Threads suffice: decoding, which dominates, releases the interpreter lock.
    """

    def read(rows: np.ndarray, crops: Mapping[str, Sequence[CropParams]]) -> dict[str, np.ndarray]:
        return {name: read_rows(c, rows, crops.get(name)) for name, c in columns.items()}

    if threads == 0:
        yield from (read(*batch) for batch in batches)
        return
    pool = ThreadPoolExecutor(threads, "pmbench-read")
    try:
        waiting: deque[Future[dict[str, np.ndarray]]] = deque()
        for batch in batches:
            waiting.append(pool.submit(read, *batch))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def normalize(x: Tensor, stats: ChannelStats) -> Tensor:
    """(x - mean) / std by channel: (N, C, ...) of any dtype -> float32 on the same device."""
    mean, std = (torch.from_numpy(a).to(x.device) for a in stats.shaped(x.dim() - 1))
    return (x.float() - mean) / std


def hold(column: Column, rows: np.ndarray, stats: ChannelStats, device: torch.device) -> Tensor:
    """Samples `rows` (n,) of a column, normalized, as one tensor (n, *shape) on the device."""
    return normalize(torch.from_numpy(np.require(read_rows(column, rows), None, "W")), stats).to(device)


def fits_in_memory(columns: Mapping[str, Column], count: int) -> bool:
    """Whether `count` samples of all columns take at most MEMORY_LIMIT; False for a column without array."""
    if any(column.array is None for column in columns.values()):
        return False
    size = sum(4 * count * int(np.prod(c.array.shape[1:])) for c in columns.values() if c.array is not None)
    return size <= MEMORY_LIMIT


def evaluation_batches(count: int, sample_bytes: int) -> Iterator[np.ndarray]:
    """Row numbers 0..count-1 in batches of EVALUATION_BATCH, or of fewer if samples are large."""
    size = max(1, min(EVALUATION_BATCH, EVALUATION_BYTES // max(1, sample_bytes)))
    for start in range(0, count, size):
        yield np.arange(start, min(start + size, count))


def validation_batches(
    samples: TrainingSamples,
    columns: Mapping[str, Column],
    stats: Mapping[str, ChannelStats],
    device: torch.device,
    threads: int = 0,
) -> Iterator[dict[str, Tensor]]:
    """Normalized validation samples in order, in batches: modality -> (n, *shape)."""
    largest = max((4 * int(np.prod(c.shape)) for c in columns.values()), default=1)
    chunks = evaluation_batches(len(samples.rows), largest)
    for arrays in stream(columns, ((samples.rows[chunk], {}) for chunk in chunks), threads):
        yield {
            name: normalize(torch.from_numpy(np.require(a, None, "W")).to(device), stats[name])
            for name, a in arrays.items()
        }
