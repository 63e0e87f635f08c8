"""Proposals of fewer seeds and tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import kendalltau

from pmbench.report.boards import Board, boards
from pmbench.report.lite import AGREED, propose

MEANS = {"a": 0.5, "b": 0.56, "c": 0.62, "d": 0.68, "e": 0.74, "f": 0.8}


def table(
    make_record: Any, seeds: int, noise: float, *, means: dict[str, float] = MEANS, **fields: Any
) -> list[Board]:
    rng = np.random.default_rng(7)
    return boards(
        make_record(name, seed, float(np.clip(mean + noise * rng.normal(), 0.3, 0.95)), **fields)
        for seed in range(seeds)
        for name, mean in means.items()
    )


def test_one_seed_is_enough_where_all_rank_alike(make_record: Any) -> None:
    found = propose(table(make_record, 4, 0.0), {("toy", "split-1")})
    assert found is not None
    assert (found.seeds, found.tables, found.tables_tau, found.methods) == (1, (("toy", "split-1"),), None, 6)
    assert [a.seeds for a in found.by_seeds] == [1, 2, 3, 4]
    assert all(a.all == pytest.approx(1) for a in found.by_seeds)
    assert found.by_seeds[0].others == pytest.approx(1)
    assert found.by_seeds[-1].others is None


def test_the_first_number_of_seeds_that_agrees_is_proposed(make_record: Any) -> None:
    (board,) = table(make_record, 6, 0.08)
    found = propose([board], {("toy", "split-1")})
    assert found is not None
    points = np.array(
        [
            [r.metrics["accuracy"] for r in sorted(row.records, key=lambda r: r.cell.seed)]
            for row in board.rows
        ]
    )
    for agreement in found.by_seeds:
        some = points[:, : agreement.seeds].mean(1)
        assert agreement.all == pytest.approx(kendalltau(some, points.mean(1)).statistic)
        if agreement.others is not None:
            rest = points[:, agreement.seeds :].mean(1)
            assert agreement.others == pytest.approx(kendalltau(some, rest).statistic)
    assert all(a.all >= AGREED for a in found.by_seeds[found.seeds - 1 :])
    assert found.by_seeds[found.seeds - 2].all < AGREED
    assert 1 < found.seeds < 6


def test_tables_are_chosen_whose_mean_ranks_agree_with_all(make_record: Any) -> None:
    turned = dict(zip(MEANS, reversed(MEANS.values()), strict=True))
    made = [
        *table(make_record, 2, 0.0, dataset="one"),
        *table(make_record, 2, 0.0, dataset="odd", means=turned),
        *table(make_record, 2, 0.0, dataset="two"),
    ]
    found = propose(made, {(name, "split-1") for name in ("one", "odd", "two")})
    assert found is not None
    assert found.tables == (("one", "split-1"),)
    assert (found.tables_tau, found.all_tables) == (pytest.approx(1), 3)
    assert propose(made, {("odd", "split-1")}).tables == (("odd", "split-1"),)  # type: ignore[union-attr]


def test_nothing_is_proposed_without_ranks(make_record: Any) -> None:
    assert propose(table(make_record, 1, 0.0), {("toy", "split-1")}) is None
    assert propose(table(make_record, 3, 0.0), {("toy", "split-2")}) is None
    two = {"a": 0.5, "b": 0.6}
    assert propose(table(make_record, 3, 0.0, means=two), {("toy", "split-1")}) is None
