"""Ceiling, headline claims, families and means over tables, on generated records."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from drawn import render

from pmbench.report.boards import Board, boards
from pmbench.report.packing import pack
from pmbench.report.record import Record
from pmbench.report.statistics import critical
from pmbench.report.summary import FEWEST_FOR_RANKS, overall
from pmbench.report.text import WIDTH, bullets, joined, number, wrap
from pmbench.report.verdicts import short_verdict

SEEDS = range(4)


def rows(make_record: Any, method: str, right: float, **more: Any) -> list[Record]:
    return [make_record(method, seed, right, **more) for seed in SEEDS]


def board_of(*records: list[Record]) -> Board:
    (board,) = boards([r for some in records for r in some])
    return board


@pytest.fixture
def floor(make_record: Any) -> list[Record]:
    return rows(make_record, "target_only", 0.6, role="floor")


# --- ceiling ----------------------------------------------------------------------------------------------


def validated(records: list[Record], selected: float | None) -> list[Record]:
    return [
        r.model_copy(update={"validation": r.validation.model_copy(update={"selected": selected})})  # type: ignore[union-attr]
        for r in records
    ]


def test_the_ceiling_is_the_best_on_validation_data_not_on_test_data(
    make_record: Any, floor: list[Record]
) -> None:
    early = rows(make_record, "early_fusion", 0.95, role="ceiling", tests_on="all")
    alone = rows(make_record, "privileged_only", 0.80, role="reference", tests_on="privileged")
    late = rows(make_record, "late_fusion", 0.97, role="reference", tests_on="all")
    other = rows(make_record, "mdms_noisy", 0.99, role="reference", tests_on="all")
    board = board_of(
        floor,
        validated(early, 80.0),
        validated(alone, 90.0),
        validated(late, None),
        validated(other, 99.0),
    )
    assert board.ceiling is not None
    assert board.ceiling.label == "privileged_only"
    marks = {row.label: row.marks[0] for row in board.rows if row.cell.tests_on != "target"}
    assert marks == {
        "privileged_only": "ceiling",
        "early_fusion": "reference",
        "late_fusion": "reference",
        "mdms_noisy": "reference",
    }
    head = " ".join(render([*floor, *validated(alone, 90.0), *validated(late, None)]).split())
    assert "ceiling: privileged_only, the best on validation data" in head
    assert "(late_fusion: none)" in head
    unknown = board_of(floor, validated(early, None), validated(late, None))
    assert unknown.ceiling is not None
    assert unknown.ceiling.label == "early_fusion", "the role decides where validation cannot"
    assert board_of(floor, validated(late, None)).ceiling is None


def test_validation_values_of_another_metric_do_not_count(make_record: Any, floor: list[Record]) -> None:
    early = validated(rows(make_record, "early_fusion", 0.9, role="ceiling", tests_on="all"), 80.0)
    alone = validated(rows(make_record, "privileged_only", 0.9, role="reference", tests_on="privileged"), 99)
    changed = [
        r.model_copy(update={"validation": r.validation.model_copy(update={"metric": "macro_f1"})})  # type: ignore[union-attr]
        for r in alone
    ]
    found = board_of(floor, early, changed).ceiling
    assert found is not None
    assert found.label == "early_fusion"


# --- claims -----------------------------------------------------------------------------------------------


def test_a_claim_needs_the_floor_and_every_control(make_record: Any, floor: list[Record]) -> None:
    kd = rows(make_record, "kd", 0.8)
    distill = rows(make_record, "self_distill", 0.61, role="control")
    strong = rows(make_record, "self_train", 0.8, role="control")
    weak = rows(make_record, "self_train", 0.6, role="control")

    def verdict(*records: list[Record]) -> tuple[str, Any]:
        board = board_of(floor, *records)
        (claim,) = board.claims
        (row,) = [r for r in board.rows if r.label == "kd"]
        return short_verdict(row, board), claim

    word, claim = verdict(kd, distill, weak)
    assert word == "beats floor and controls"
    assert set(claim.beaten) == {"target_only", "self_distill", "self_train"}
    assert claim.p < 0.05
    word, claim = verdict(kd, distill, strong)
    assert (word, claim.failed, claim.holds) == ("beats floor", ("self_train",), False)
    assert claim.p > 0.05
    word, claim = verdict(kd)
    assert (word, claim.missing, claim.holds, claim.p) == ("beats floor", ("self_distill",), False, None)
    word, claim = verdict(rows(make_record, "kd", 0.4), distill)
    assert (word, claim.p) == ("worse than floor", 1.0)
    assert verdict(rows(make_record, "kd", 0.6), distill)[0] == "no significant gain"


def test_two_networks_must_beat_the_ensemble(make_record: Any, floor: list[Record]) -> None:
    distill = rows(make_record, "self_distill", 0.61, role="control")
    two = rows(make_record, "hoffman", 0.8, networks=2)
    same = rows(make_record, "target_ensemble", 0.8, role="reference", networks=2)
    worse = rows(make_record, "target_ensemble", 0.62, role="reference", networks=2)
    assert [c.failed for c in board_of(floor, distill, two, same).claims] == [("target_ensemble",)]
    assert [c.holds for c in board_of(floor, distill, two, worse).claims] == [True]
    assert [c.missing for c in board_of(floor, distill, two).claims] == [("target_ensemble",)]
    one = rows(make_record, "kd", 0.8)
    assert [c.holds for c in board_of(floor, distill, one, same).claims] == [True]


def test_a_claim_holds_if_and_only_if_all_its_intervals_lie_above_zero(every_kind: list[Record]) -> None:
    for board in boards(every_kind):
        for claim in board.claims:
            (row,) = [r for r in board.rows if r.label == claim.label]
            lows = [row.gain.low] if row.gain else []
            lows += [c.comparison.low for c in board.contrasts if c.label == claim.label]
            above = all(low is not None and low > 0 for low in lows)
            assert claim.holds == (above and not claim.missing)
            assert claim.p is None or (claim.p < 0.05) == above


def test_only_methods_are_the_family(make_record: Any, floor: list[Record]) -> None:
    methods = [rows(make_record, name, 0.6 + i / 50) for i, name in enumerate(("a", "b", "c"))]
    more = [rows(make_record, f"c{i}", 0.5, role="control") for i in range(6)]
    alone, crowded = board_of(floor, *methods), board_of(floor, *methods, *more)
    for name in ("a", "b", "c"):
        (one,) = [r.gain for r in alone.rows if r.label == name]
        (other,) = [r.gain for r in crowded.rows if r.label == name]
        assert one == other
        assert one is not None
        assert one.adjusted == pytest.approx(min(1.0, 3 * one.p))  # type: ignore[operator]


def test_one_seed_is_shown_but_not_tested(make_record: Any) -> None:
    records = [make_record("target_only", 0, 0.6, role="floor"), make_record("kd", 0, 0.9)]
    (board,) = boards(records)
    (kd,) = [r for r in board.rows if r.label == "kd"]
    assert kd.gain is not None
    assert kd.gain.difference > 20
    assert (kd.gain.low, kd.gain.p) == (None, None)
    assert short_verdict(kd, board) == "not tested"
    assert "kd: cannot be tested against target_only" in render(records)
    assert "one seed of the floor: gains have no interval, and nothing is tested" in render(records)


def test_records_with_groups_are_resampled_by_group(make_record: Any, floor: list[Record]) -> None:
    def grouped(records: list[Record], codes: np.ndarray) -> list[Record]:
        return [
            r.model_copy(update={"samples": r.samples.model_copy(update={"groups": pack(codes)})})  # type: ignore[union-attr]
            for r in records
        ]

    codes = np.arange(400) // 50
    kd = rows(make_record, "kd", 0.7)
    plain, whole = board_of(floor, kd), board_of(grouped(floor, codes), grouped(kd, codes))
    mixed = board_of(floor, grouped(kd, codes))  # the floor's records are older than the field
    assert (plain.grouped, whole.grouped, mixed.grouped) == (False, True, True)
    errors = [next(r.error for r in b.rows if r.label == "kd") for b in (plain, whole, mixed)]
    assert errors[1] == errors[2] != errors[0]
    disputed = board_of(grouped(floor, codes), grouped(kd, np.arange(400) // 100))
    assert not disputed.grouped
    assert "seed 0: records name different groups of test samples, so none are used" in disputed.remarks
    assert "whole groups of test samples are resampled" in render([*grouped(floor, codes), *kd])
    assert "the records name no groups" in " ".join(render([*floor, *kd]).split())


# --- means over tables --------------------------------------------------------------------------------------


def tables(make_record: Any, count: int, datasets: int) -> list[Board]:
    records = []
    for i in range(count):
        where = {"dataset": f"d{i % datasets}", "protocol": f"p{i}"}
        records += rows(make_record, "target_only", 0.6, role="floor", **where)
        records += rows(make_record, "kd", 0.66 + 0.01 * i, **where)
    return boards(records)


def test_the_mean_gain_over_data_sets_by_hand(make_record: Any) -> None:
    found = tables(make_record, 2, 2)
    (kd,) = overall(found)
    gains = [r.gain.difference for b in found for r in b.rows if r.gain is not None]
    errors = [r.error for b in found for r in b.rows if r.error is not None]
    assert kd.gain.difference == pytest.approx(np.mean(gains))
    error = np.sqrt(sum(e[0] ** 2 for e in errors)) / 2
    half = critical(min(e[1] for e in errors)) * error
    assert (kd.gain.low, kd.gain.high) == pytest.approx((np.mean(gains) - half, np.mean(gains) + half))
    assert (kd.tables, kd.datasets, kd.mean_rank, kd.gap) == (2, 2, None, None)


def test_tables_of_one_data_set_are_not_independent(make_record: Any) -> None:
    found = tables(make_record, 2, 1)
    (kd,) = overall(found)
    errors = [r.error[0] for b in found for r in b.rows if r.error is not None]
    df = min(r.error[1] for b in found for r in b.rows if r.error is not None)
    assert kd.gain.high is not None
    half = kd.gain.high - kd.gain.difference
    assert half == pytest.approx(critical(df) * np.sqrt(np.mean(np.square(errors))))


def test_mean_ranks_are_shown_from_ten_tables_on(make_record: Any) -> None:
    assert overall(tables(make_record, FEWEST_FOR_RANKS - 1, 3))[0].mean_rank is None
    assert overall(tables(make_record, FEWEST_FOR_RANKS, 3))[0].mean_rank == 1.0


# --- text ---------------------------------------------------------------------------------------------------


def test_no_line_of_prose_is_long(every_kind: list[Record]) -> None:
    long = every_kind[0].model_copy(update={"deviations": ["a word - and 1. more " * 60]})
    text = render([long, *every_kind[1:]])
    assert max(len(x) for x in text.splitlines() if not x.startswith("|")) <= 160


def test_wrapped_lines_start_no_list_and_lose_no_word() -> None:
    text = "a - b 12. c # d > e + f * " * 40
    found = wrap(text)
    assert found.split() == text.split()
    assert not [x for x in found.splitlines() if re.match(r"\s*([-+*>#]|[0-9]+\.)\s", x)]
    assert len(found.splitlines()) > 5
    assert max(map(len, found.splitlines())) <= WIDTH + 6
    assert bullets(["one", "two"]) == "- one\n- two"
    assert [joined(list("abc")[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]


def test_numbers_do_not_depend_on_the_last_bits() -> None:
    assert {number(x, 2) for x in (2.675, 2.675 + 1e-13, 2.675 - 1e-13)} == {number(2.675, 2)}
    assert number(-0.001, 2) == "0.00"
