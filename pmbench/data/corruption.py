"""Columns of privileged modalities that a protocol makes noisy or late."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

import numpy as np

from ..contracts.samples import Column, Corruption, CropParams
from ..seeding import generator

STATS_SAMPLES = 512
"""Largest number of samples whose std the noise is measured by."""
HELD = 1 << 28
"""Largest size in bytes of a column that is changed as a whole; larger ones are changed sample by sample."""


@dataclass(frozen=True)
class CorruptedColumn(Column):
    """The samples of `of` after a corruption. The noise of sample i depends on `name` and i alone."""

    of: Column = field(kw_only=True)
    corruption: Corruption = field(kw_only=True)
    name: str = field(kw_only=True)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.of.shape

    def read(self, index: int, crop: CropParams = CropParams()) -> np.ndarray:  # noqa: B008
        x = late(np.asarray(self.of.read(index, crop)), self.corruption.delay)
        if not self.corruption.noise:
            return x
        drawn = generator(0, "corruption", self.name, index).standard_normal(x.shape, dtype=np.float32)
        return x.astype(np.float32) + np.float32(self.corruption.noise) * self._std * drawn

    @functools.cached_property
    def _std(self) -> np.ndarray:
        """Std by channel (C, 1, ...) over the samples of this column, of at most STATS_SAMPLES."""
        rows = np.arange(self.length) if self.present is None else np.flatnonzero(self.present)
        chosen = rows[np.linspace(0, len(rows) - 1, min(STATS_SAMPLES, len(rows))).round().astype(int)]
        x = np.stack([np.asarray(self.of.read(int(row)), np.float64) for row in chosen])
        return x.std(axis=(0, *range(2, x.ndim)), keepdims=True)[0].astype(np.float32)


def late(x: np.ndarray, frames: int) -> np.ndarray:
    """(C, T, ...) by that many frames later; its first frame stands for those before the start."""
    steps = np.maximum(np.arange(x.shape[1]) - frames, 0) if frames else None
    return x if steps is None else x[:, steps]


def corrupted(column: Column, corruption: Corruption, name: str) -> Column:
    """What becomes of a column; `name` is that of its part and modality."""
    made = CorruptedColumn(column.length, None, column.present, of=column, corruption=corruption, name=name)
    if column.array is None or 4 * column.length * int(np.prod(column.shape)) > HELD:
        return made
    array = np.stack([made.read(index) for index in range(column.length)])
    return Column(column.length, array, column.present)
