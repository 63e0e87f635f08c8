"""Means over tables: gain and gap recovered of each method, over data sets."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .boards import Board
from .gaps import Gap, Pair, gap_recovered, mean_pair
from .rows import Row
from .statistics import Comparison, critical, mean_over_datasets, two_sided

FEWEST_FOR_RANKS = 10
"""Tables below which no mean rank is shown: it mostly shows which tables were drawn."""


@dataclass(frozen=True)
class Overall:
    """One method over `tables` tables of `datasets` data sets.

    `gain`: mean over data sets of the means over their tables. `gap`: mean gain / mean gap of the tables that
    have both. Their intervals are simultaneous over the methods, and cover seeds and test samples of these
    tables, not the choice of data sets. `mean_rank`: of its positions by mean result, from FEWEST_FOR_RANKS
    tables on.
    """

    label: str
    gain: Comparison
    gap: Gap | None
    tables: int
    datasets: int
    mean_rank: float | None


def overall(boards: Sequence[Board]) -> list[Overall]:
    """The methods of the boards, the largest mean gain first."""
    found: dict[str, list[tuple[Board, Row]]] = {}
    for board in boards:
        for row in board.rows:
            if row.competes and row.gain is not None:
                found.setdefault(row.label, []).append((board, row))
    entries = [_overall(label, rows, len(found)) for label, rows in found.items()]
    return sorted(entries, key=lambda e: (-round(e.gain.difference, 9), e.label))


def _overall(label: str, rows: Sequence[tuple[Board, Row]], family: int) -> Overall:
    gains = [(board.cell.dataset, _gain(row)) for board, row in rows]
    gaps = [(board.cell.dataset, row.pair) for board, row in rows if row.pair is not None]
    positions = [(board.cell.dataset, float(_position(board, row))) for board, row in rows]
    ranks = mean_over_datasets(positions) if len(rows) >= FEWEST_FOR_RANKS else None
    datasets = len({dataset for dataset, _ in gains})
    gain = _compare(_over_datasets(gains), family)
    gap = gap_recovered(_over_datasets(gaps), family) if gaps else None
    return Overall(label, gain, gap, len(rows), datasets, None if ranks is None else ranks[0])


def _gain(row: Row) -> Pair:
    """The gain of a row, as a pair without a gap."""
    assert row.gain is not None
    if row.error is None:
        return Pair(row.gain.difference, 0.0, None, 0.0, row.gain.seeds)
    error, df = row.error
    return Pair(row.gain.difference, 0.0, (error**2, 0.0, 0.0), df, row.gain.seeds)


def _over_datasets(pairs: Sequence[tuple[str, Pair]]) -> Pair:
    """Mean over data sets of the means over their tables.

    Tables of one data set share samples and seeds: the variance of their mean is taken to be the mean of
    their variances, which it cannot exceed. Data sets are independent.
    """
    by_dataset: dict[str, list[Pair]] = {}
    for dataset, pair in pairs:
        by_dataset.setdefault(dataset, []).append(pair)
    means = []
    for same in by_dataset.values():
        mean = mean_pair(same, [1 / len(same)] * len(same))
        if mean.covariance is not None:
            # Their mean with weights w^2, as if independent, is 1 / n of the mean of the variances.
            a, b, c = (len(same) * x for x in mean.covariance)
            mean = dataclasses.replace(mean, covariance=(a, b, c))
        means.append(mean)
    return mean_pair(means, [1 / len(means)] * len(means))


def _compare(mean: Pair, family: int) -> Comparison:
    if mean.covariance is None:
        return Comparison(mean.gain, None, None, None, None, mean.seeds)
    error = float(np.sqrt(mean.covariance[0]))
    half = critical(mean.df, family) * error
    p = two_sided(mean.gain / error, mean.df)
    return Comparison(mean.gain, mean.gain - half, mean.gain + half, p, min(1.0, family * p), mean.seeds)


def _position(board: Board, row: Row) -> int:
    """1 + the number of ranked rows above, in the order of their means."""
    return [r.label for r in board.rows if r.rank is not None].index(row.label) + 1
