"""What other choices of the epoch would have given."""

from __future__ import annotations

import pytest
from drawn import front, line, tables

from pmbench.metrics.builtin import METRICS
from pmbench.report.audit import bonus_of, choices_of
from pmbench.report.boards import boards
from pmbench.report.record import Audit, Record


def audited(record: Record, last: float, validation: float | None, test: float) -> Record:
    """The record with an audit; numbers are differences to its result."""
    value = record.metrics["accuracy"]
    shown = None if validation is None else value + validation
    audit = Audit(last=value + last, validation=shown, test=value + test, test_epoch=3)
    return record.model_copy(update={"audit": audit})


def records(make_record) -> list[Record]:
    found = []
    for seed in (0, 1, 2):
        floor = make_record("target_only", seed, 0.6, role="floor")
        given = make_record("privileged_only", seed, 0.8, role="reference", tests_on="privileged")
        found += [
            audited(floor, -1.0 - seed, 0.0, 0.5),
            audited(make_record("kd", seed), 0.25, None if seed else 0.0, 1.5 + seed),
            audited(given, 0.0, 0.0, 9.0),
            make_record("hoffman", seed),
        ]
    return found


def test_choices_are_mean_differences_to_the_result(make_record):
    (board,) = boards(records(make_record))
    found = {c.label: c for c in choices_of(board.rows, METRICS["accuracy"])}
    assert found.keys() == {"target_only", "kd", "privileged_only"}, "hoffman has no audit"
    floor, kd = found["target_only"], found["kd"]
    assert (floor.last, floor.validation, floor.test) == pytest.approx((-2.0, 0.0, 0.5))
    assert (kd.last, kd.test, kd.seeds) == (pytest.approx(0.25), pytest.approx(2.5), 3)
    assert kd.validation is None, "not all seeds have validation data"
    assert bonus_of(board.rows, METRICS["accuracy"]) == pytest.approx(1.5), "without the ceiling's rows"


def test_lower_is_better_turns_the_sign(make_record):
    record = make_record(metric="acer", role="floor", method="target_only", classes=2)
    value = record.metrics["acer"]
    audit = Audit(last=value + 2, validation=value, test=value - 1, test_epoch=1)
    (board,) = boards([record.model_copy(update={"audit": audit})])
    (found,) = choices_of(board.rows, METRICS["acer"])
    assert (found.last, found.validation, found.test) == pytest.approx((-2.0, 0.0, 1.0))


def test_the_pages_name_the_bonus_of_picking_on_test(make_record):
    made = records(make_record)
    text = tables(made).partition("## Choice of the epoch")[2]
    assert "would add +1.50 points" in " ".join(text.split())
    assert line(text, "| `target_only`").endswith("| -2.00 | +0.00 | +0.50 | 3 |")
    assert line(text, "| `kd`").endswith("| +0.25 | - | +2.50 | 3 |")
    assert "would have added 1.5 points to a result" in " ".join(front(made).split())
    plain = [r.model_copy(update={"audit": None}) for r in made]
    assert "Choice of the epoch" not in tables(plain)
    assert "epoch" not in front(plain)
