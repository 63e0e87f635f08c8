"""Fewer seeds and fewer tables that rank methods as published records of many do."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from .boards import Board
from .rows import Row

AGREED = 0.9
"""Kendall's tau with the ranks of all seeds, or of all tables, from which on a subset is proposed."""
FEWEST_METHODS = 3


@dataclass(frozen=True)
class Agreement:
    """How well the first `seeds` seeds rank the methods of a table, as Kendall's tau.

    `all`: with the ranks of all seeds; `others`: with those of the other seeds alone, None without any.
    """

    seeds: int
    all: float
    others: float | None


@dataclass(frozen=True)
class Lite:
    """A proposal: the first `seeds` seeds of some `tables`, of which each is (data set, protocol).

    `by_seeds` are means over all tables with records. `tables_tau` compares mean ranks over the proposed
    tables with those over all; None for a single table. `methods` are those that all tables have.
    """

    seeds: int
    tables: tuple[tuple[str, str], ...]
    by_seeds: tuple[Agreement, ...]
    tables_tau: float | None
    methods: int
    all_tables: int


def propose(boards: Sequence[Board], wanted: Collection[tuple[str, str]]) -> Lite | None:
    """The smallest proposal that agrees with the full boards of the `wanted` tables.

    None if these have no board with two seeds and FEWEST_METHODS methods. With the proposed number of seeds,
    and with each larger one, ranks agree. Seeds are chosen first, then tables, one after the other: the one
    that agrees best with all in the mean ranks of methods.
    """
    tables = {
        (b.cell.dataset, b.cell.protocol): values
        for b in boards
        if (b.cell.dataset, b.cell.protocol) in wanted and (values := _values(b)) is not None
    }
    if not tables:
        return None
    count = min(points.shape[1] for _, points in tables.values())
    by_seeds = tuple(_agreement([p for _, p in tables.values()], n) for n in range(1, count + 1))
    seeds = 1 + max((a.seeds for a in by_seeds if a.all < AGREED), default=0)
    names = sorted(set.intersection(*(set(labels) for labels, _ in tables.values())))
    ranks = {
        key: _ranks(points[[labels.index(n) for n in names]]) for key, (labels, points) in tables.items()
    }
    kept, agreed = _tables(ranks) if len(names) >= FEWEST_METHODS else (tuple(tables), 1.0)
    return Lite(seeds, kept, by_seeds, agreed if len(tables) > 1 else None, len(names), len(tables))


def _values(board: Board) -> tuple[list[str], np.ndarray] | None:
    """Labels of methods with all seeds of the board, and their results (M, S), larger ones better."""
    rows = [row for row in board.rows if row.competes and len(row.records) == len(board.seeds)]
    if board.metric is None or len(board.seeds) < 2 or len(rows) < FEWEST_METHODS:
        return None
    sign = 1.0 if board.metric.higher_is_better else -1.0
    return [row.label for row in rows], sign * np.array([_by_seed(row, board.metric.name) for row in rows])


def _by_seed(row: Row, metric: str) -> list[float]:
    return [r.metrics[metric] for r in sorted(row.records, key=lambda r: r.cell.seed)]


def _agreement(tables: Sequence[np.ndarray], seeds: int) -> Agreement:
    some = [_tau(points[:, :seeds].mean(1), points.mean(1)) for points in tables]
    rest = [
        _tau(points[:, :seeds].mean(1), points[:, seeds:].mean(1))
        for points in tables
        if points.shape[1] > seeds
    ]
    return Agreement(seeds, float(np.mean(some)), float(np.mean(rest)) if rest else None)


def _tables(ranks: dict[tuple[str, str], np.ndarray]) -> tuple[tuple[tuple[str, str], ...], float]:
    """Tables that agree with all in the mean ranks of methods, and their tau."""
    full = np.mean(list(ranks.values()), 0)
    kept: list[tuple[str, str]] = []
    while True:
        found = {
            key: _tau(np.mean([ranks[k] for k in (*kept, key)], 0), full) for key in ranks if key not in kept
        }
        best = max(found, key=lambda key: found[key])
        kept.append(best)
        if found[best] >= AGREED or len(kept) == len(ranks):
            return tuple(key for key in ranks if key in kept), found[best]


def _ranks(points: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata

    return rankdata(points.mean(1))


def _tau(one: np.ndarray, other: np.ndarray) -> float:
    """Kendall's tau-b; 0 where one of two rankings has nothing but ties."""
    from scipy.stats import kendalltau

    found = 1.0 if np.array_equal(one, other) else float(kendalltau(one, other).statistic)
    return 0.0 if np.isnan(found) else found
