"""Batches: their order, from memory where the data fits, through worker processes where it does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..contracts.batch import Batch
from ..contracts.dataset import Column, Draw
from ..contracts.stage import Stage
from .draws import derive, generator
from .view import Samples, Standard, TrainingView, read_rows

MEMORY_LIMIT = 4 << 30
"""Bytes of float32 samples up to which the data of a stage is held as tensors on the device."""
EVALUATION_BATCH = 256


@dataclass(frozen=True)
class Order:
    """Which samples make up each batch of a training.

    An endless stream of shuffled passes is cut into batches of equal size. Where labelled and unlabelled
    samples are both there, half of each batch comes from each, so that labels are seen as often as without
    the unlabelled ones.
    """

    labelled: np.ndarray
    unlabelled: np.ndarray
    batch_size: int
    steps: int
    seed: int

    def epoch(self, epoch: int) -> np.ndarray:
        """(steps, batch_size) positions."""
        if not (len(self.labelled) and len(self.unlabelled)):
            which, pool = (
                ("labelled", self.labelled) if len(self.labelled) else ("unlabelled", self.unlabelled)
            )
            return self._stream(pool, which, epoch, self.batch_size)
        half = self.batch_size // 2
        return np.concatenate(
            [
                self._stream(self.labelled, "labelled", epoch, self.batch_size - half),
                self._stream(self.unlabelled, "unlabelled", epoch, half),
            ],
            axis=1,
        )

    def _stream(self, pool: np.ndarray, which: str, epoch: int, width: int) -> np.ndarray:
        size = self.steps * width
        first, last = epoch * size // len(pool), (epoch * size + size - 1) // len(pool)
        passes = [generator(self.seed, "order", which, n).permutation(pool) for n in range(first, last + 1)]
        start = epoch * size - first * len(pool)
        return np.concatenate(passes)[start : start + size].reshape(self.steps, width)


class _NamedDraw(Draw):
    """Draws for a whole batch, of which each process takes its share."""

    def __init__(
        self, seed: int, epoch: int, step: int, size: int, shard: tuple[int, int], device: torch.device
    ) -> None:
        self._purpose = (seed, epoch, step)
        self._size = size
        self._shard = shard
        self._device = device

    def __call__(self, name: str) -> Tensor:
        seed, epoch, step = self._purpose
        chance = torch.Generator().manual_seed(derive(seed, "augment", name, epoch, step))
        rank, world = self._shard
        return torch.rand(self._size, generator=chance)[rank::world].to(self._device)


@dataclass
class TrainingBatches:
    """The training batches of one stage. `held` are its tensors, or None where worker processes read them."""

    view: TrainingView
    stage: Stage
    order: Order
    standards: Mapping[str, Standard]
    device: torch.device
    workers: int = 0
    shard: tuple[int, int] = (0, 1)

    def __post_init__(self) -> None:
        self.handed = self.view.handed(self.stage)
        samples = self.view.train
        self.rows = samples.rows[self.handed]
        self.labels = torch.from_numpy(samples.labels[self.handed]).to(self.device)
        self.present = {
            name: torch.from_numpy(mask[self.handed]).to(self.device)
            for name, mask in self.view.present.items()
            if name in self.stage.reads
        }
        self.held: dict[str, Tensor] | None = None
        self.columns = {m: self.view.prepared.column(samples.part, m) for m in self.stage.reads}
        if fits_in_memory(self.columns, len(self.rows)):
            self.held = {
                name: hold(column, self.rows, self.standards[name], self.device)
                for name, column in self.columns.items()
            }

    def epoch(self, epoch: int, epochs: int) -> Iterator[Batch]:
        rank, world = self.shard
        order = np.ascontiguousarray(self.order.epoch(epoch)[:, rank::world])
        dataset, name = self.view.prepared.dataset, type(self.stage).__name__
        index = torch.from_numpy(order).to(self.device)
        read = self._held(index) if self.held is not None else self._streamed(order)
        steps = self.order.steps
        tensors: Mapping[str, Tensor]
        for step, tensors in enumerate(read):
            rows = index[step]
            if dataset.augments:
                draw = _NamedDraw(
                    self.order.seed, epoch, step, self.order.batch_size, self.shard, self.device
                )
                tensors = dataset.augment(tensors, draw)
            present = {m: mask[rows] for m, mask in self.present.items()}
            if present:
                tensors = dict(tensors)
                for m, mask in present.items():
                    absent = ~mask.reshape(-1, *(1,) * (tensors[m].dim() - 1))
                    tensors[m] = tensors[m].masked_fill(absent, 0)
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

    def _streamed(self, order: np.ndarray) -> Iterator[dict[str, Tensor]]:
        source = _Rows(self.columns, self.rows, self.standards)
        loader = DataLoader(
            source,
            batch_sampler=[list(map(int, batch)) for batch in order],
            num_workers=self.workers,
            multiprocessing_context="spawn" if self.workers else None,
            generator=torch.Generator(),  # else it draws from the global one, and dropout follows
        )
        for tensors in loader:
            yield {name: tensor.to(self.device, non_blocking=True) for name, tensor in tensors.items()}


class _Rows(Dataset[dict[str, Tensor]]):
    """Samples of several columns by position, standardised; what the worker processes run."""

    def __init__(
        self, columns: Mapping[str, Column], rows: np.ndarray, standards: Mapping[str, Standard]
    ) -> None:
        self.columns = dict(columns)
        self.rows = rows
        self.standards = dict(standards)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"columns": {name: _by_file(column) for name, column in self.columns.items()}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        opened = {name: c if isinstance(c, Column) else _opened(*c) for name, c in state["columns"].items()}
        self.__dict__.update(state | {"columns": opened})

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> dict[str, Tensor]:
        row = int(self.rows[position])
        return {
            name: standardise(column.read(row)[None], self.standards[name])[0]
            for name, column in self.columns.items()
        }


def _by_file(column: Column) -> Column | tuple[Any, ...]:
    """A mapped column travels to a worker process as its file's name, not as gigabytes."""
    array = column.array
    if not isinstance(array, np.memmap) or array.filename is None or not array.flags.c_contiguous:
        return column
    return type(column), array.filename, array.dtype.str, array.offset, array.shape


def _opened(kind: type[Column], path: Any, dtype: str, offset: int, shape: tuple[int, ...]) -> Column:
    return kind(shape[0], np.memmap(path, dtype, "r", offset, shape))


def standardise(x: np.ndarray, standard: Standard) -> Tensor:
    """(N, C, ...) numbers of any type -> standardised float32."""
    mean, deviation = (torch.from_numpy(a) for a in standard.shaped(x.ndim - 1))
    return (torch.from_numpy(np.require(x, np.float32, "W")) - mean) / deviation


def hold(column: Column, rows: np.ndarray, standard: Standard, device: torch.device) -> Tensor:
    """The given samples as one standardised tensor on the device."""
    return standardise(read_rows(column, rows), standard).to(device)


def fits_in_memory(columns: Mapping[str, Column], count: int) -> bool:
    """Whether `count` samples of these columns stay below MEMORY_LIMIT; columns without an array never do."""
    if any(column.array is None for column in columns.values()):
        return False
    size = sum(4 * count * int(np.prod(c.array.shape[1:])) for c in columns.values() if c.array is not None)
    return size <= MEMORY_LIMIT


def validation_batches(
    samples: Samples, columns: Mapping[str, Column], standards: Mapping[str, Standard], device: torch.device
) -> Iterator[dict[str, Tensor]]:
    """The validation samples in order, in batches of EVALUATION_BATCH."""
    for cut in range(0, len(samples.rows), EVALUATION_BATCH):
        rows = samples.rows[cut : cut + EVALUATION_BATCH]
        yield {name: hold(column, rows, standards[name], device) for name, column in columns.items()}
