"""Means over tables: gain, gap recovered and rank of each method, over data sets."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from .boards import Board
from .gaps import Gap, Pair, gap_recovered, mean_pair
from .rows import Row
from .statistics import LEVEL, Comparison, critical, mean_over_datasets, two_sided

FEWEST_FOR_RANKS = 10
"""Tables below which no mean rank is shown: it mostly shows which tables were drawn."""


DIGITS = 6
"""Decimals of average ranks and of their critical difference."""


@dataclass(frozen=True)
class AverageRanks:
    """Average ranks of the methods that are on all of `tables` tables, over `datasets` data sets.

    `values`: the tables' set of hyper-parameter values. `ranks`: label and average rank, the best first; 1 is
    the best of these methods. `difference`: the critical difference of two average ranks. `bars`: (first,
    last) places in `ranks` of each largest set of methods of which no two differ by it. `missing`: methods
    that some table lacks.
    """

    values: str
    ranks: tuple[tuple[str, float], ...]
    difference: float
    bars: tuple[tuple[int, int], ...]
    datasets: int
    tables: int
    missing: tuple[str, ...]


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


def average_ranks(boards: Sequence[Board]) -> AverageRanks | None:
    """Average ranks over boards of one set of values, with Nemenyi's test (Demsar 2006, JMLR 7).

    A rank is the place by the mean result among the methods that are on all boards; equal results share the
    mean of their places. It is averaged over the tables of a data set, then over data sets, which the test
    counts, since tables of one data set share samples and seeds. None below FEWEST_FOR_RANKS tables, for one
    data set, or for less than three such methods.
    """
    if len(boards) < FEWEST_FOR_RANKS:
        return None
    results = [{row.label: row.interval.mean for row in b.rows if row.competes} for b in boards]
    common = set.intersection(*map(set, results))
    datasets = len({board.cell.dataset for board in boards})
    if datasets < 2 or len(common) < 3:
        return None
    found = []
    for label in common:
        places = [(b.cell.dataset, _place(label, r, common, b)) for b, r in zip(boards, results, strict=True)]
        mean = mean_over_datasets(places)
        assert mean is not None
        found.append((label, round(mean[0], DIGITS)))
    ranks = tuple(sorted(found, key=lambda one: (one[1], one[0])))
    difference = round(critical_difference(len(ranks), datasets), DIGITS)
    missing = sorted(set().union(*results) - common)
    bars = tuple(joined_places([rank for _, rank in ranks], difference))
    values = boards[0].cell.value_set
    return AverageRanks(values, ranks, difference, bars, datasets, len(boards), tuple(missing))


def _place(label: str, results: dict[str, float], among: set[str], board: Board) -> float:
    """Place of a method by its mean result, 1 for the best; half a place for each other one that is equal."""
    sign = 1 if board.metric is None or board.metric.higher_is_better else -1
    gaps = [round(sign * (results[other] - results[label]), 9) for other in among if other != label]
    return 1 + sum(gap > 0 for gap in gaps) + sum(gap == 0 for gap in gaps) / 2


@cache
def critical_difference(methods: int, blocks: int) -> float:
    """Least difference of two average ranks that is significant: q sqrt(k (k + 1) / (6 N)).

    q is the quantile at 1 - LEVEL of the studentized range with infinite degrees of freedom, / sqrt(2).
    """
    from scipy.stats import studentized_range  # slow to import

    q = float(studentized_range.ppf(1 - LEVEL, methods, np.inf)) / np.sqrt(2)
    return float(q * np.sqrt(methods * (methods + 1) / (6 * blocks)))


def joined_places(ranks: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """(first, last) of each largest run of two or more sorted ranks that differ by less than `difference`."""
    found: list[tuple[int, int]] = []
    for first, rank in enumerate(ranks):
        last = max(i for i, other in enumerate(ranks) if other - rank < difference)
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found
