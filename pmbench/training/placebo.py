"""Placebos: columns that take the place of a privileged modality, in training and validation data alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..contracts.samples import Column, CropParams
from ..seeding import derive, generator

HELD = 1 << 30
"""Largest size in bytes of a placebo that is made as a whole; a larger one is made sample by sample."""
WHOLE = CropParams()


@dataclass(frozen=True)
class Shuffled(Column):
    """A column whose sample i is sample `source[i]` of `of`."""

    of: Column = field(kw_only=True)
    source: np.ndarray = field(kw_only=True, hash=False)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.of.shape

    def read(self, index: int, crop: CropParams = WHOLE) -> np.ndarray:
        return self.of.read(int(self.source[index]), crop)


@dataclass(frozen=True)
class Noise(Column):
    """Normal noise with a mean and a std for each channel; sample i depends on `seed` and i alone."""

    like: tuple[int, ...] = field(kw_only=True)
    mean: np.ndarray = field(kw_only=True, hash=False)
    std: np.ndarray = field(kw_only=True, hash=False)
    seed: int = field(kw_only=True)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.like

    def read(self, index: int, crop: CropParams = WHOLE) -> np.ndarray:
        drawn = generator(self.seed, index).standard_normal(self.like, dtype=np.float32)
        wide = (-1,) + (1,) * (len(self.like) - 1)
        return self.mean.reshape(wide) + self.std.reshape(wide) * drawn


def shuffled(column: Column, rows: np.ndarray, seed: int, name: str) -> Column:
    """`column` with its samples `rows` (n,) permuted; equal `name` and number of rows, equal permutation."""
    source = np.arange(column.length)
    source[rows] = generator(seed, "placebo", "shuffle", name).permutation(rows)
    array = column.array[source] if column.array is not None and column.array.nbytes <= HELD else None
    return Shuffled(column.length, array, column.present, of=column, source=source)


def noise(column: Column, mean: np.ndarray, std: np.ndarray, seed: int, name: str) -> Column:
    """Noise in place of `column`, with mean and std (C,); `name` tells columns of one seed apart."""
    made = Noise(
        column.length,
        None,
        column.present,
        like=tuple(column.shape),
        mean=mean,
        std=std,
        seed=derive(seed, "placebo", "noise", name),
    )
    size = 4 * column.length * int(np.prod(column.shape))
    if column.array is None or size > HELD:
        return made
    array = np.stack([made.read(i) for i in range(column.length)])
    return Column(column.length, array, column.present)
