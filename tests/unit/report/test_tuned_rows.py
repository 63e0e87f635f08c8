"""Rows whose options a study chose stand beside those of the defaults, and never take their place."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from drawn import line, row, tables
from pydantic import ValidationError

from pmbench.report.boards import boards
from pmbench.report.cell import TuningStudy
from pmbench.report.pages.book import Book
from pmbench.report.pages.formats import to_csv
from pmbench.report.record import Record
from pmbench.report.record_files import read_record, to_json, write_record
from pmbench.report.rows import label_of

STUDY = TuningStudy(
    name="first",
    digest="a" * 64,
    trials=5,
    sampler="qmc",
    best=[60.0, 60.0, 62.5, 62.5, 64.0],
    confirmed=[61.0, 60.25],
)


def tuned(record: Record, **options: Any) -> Record:
    """The record under a study; with the same predictions if that chose no other options."""
    cell = record.cell.model_copy(update={"study": STUDY, "options": options})
    changes: dict[str, Any] = {"cell": cell, "cell_key": f"{record.cell.seed + 1}" * 64}
    if options and record.digests:
        own = f"{record.cell.seed + 5}" * 64
        changes["digests"] = record.digests.model_copy(update={"predictions": own})
    return record.model_copy(update=changes)


def test_a_tuned_row_has_a_label_of_its_own_and_the_table_its_curve(every_kind: list[Record]) -> None:
    toy = [r for r in every_kind if r.cell.dataset == "toy"]
    (plain,) = boards(toy)
    records = [*toy, *(tuned(r, temperature=0.5) for r in toy if label_of(r.cell) == "kd")]
    (first,) = boards(records)
    label = "kd[temperature=0.5] (tuned, 5 trials)"
    assert {r.label for r in first.rows} - {r.label for r in plain.rows} == {label}
    text = tables(records)
    assert row(text, label)[1] == row(text, "kd")[1], "the same predictions"
    section = text.partition("## Tuned rows")[2].partition("Other metrics")[0]
    head = "| best score after | 1 trial | 2 trials | 4 trials | 5 trials | confirmed: default |"
    assert line(section, head)
    assert line(section, f"| `{label}`").endswith("| 60.0 | 60.0 | 62.5 | 64.0 | 61.0 | 60.2 | -0.8 |")
    assert "study first: 5 trials of each method, quasi-random values, SHA-256 aaaaaaaaaaaaaaaa" in section
    assert "Tuned rows" not in tables(every_kind)


@pytest.mark.parametrize("method", ["hoffman", "self_distill", "target_only"])
def test_a_tuned_row_whose_best_trial_is_the_default_is_in_no_test(
    every_kind: list[Record], method: str
) -> None:
    toy = [r for r in every_kind if r.cell.dataset == "toy"]
    default = [r for r in toy if r.cell.method == method]
    (plain,), (both,) = boards(toy), boards([*toy, *map(tuned, default)])
    label = f"{method} (tuned, 5 trials)"
    equal = next(r for r in both.rows if r.label == label)
    assert equal.marks[0] == f"equal to {method}"
    assert (equal.gain, equal.rank, equal.competes) == (None, None, False)
    assert [r for r in both.rows if r is not equal] == list(plain.rows)
    assert (both.contrasts, both.claims, both.pairs) == (plain.contrasts, plain.claims, plain.pairs)
    text = tables([*toy, *map(tuned, default)])
    assert f"| [`{label}`][{method}] (equal to {method}" in text.partition("Not ranked: ")[2]


def test_of_equal_rows_the_one_without_options_counts(every_kind: list[Record]) -> None:
    toy = [r for r in every_kind if r.cell.dataset == "toy"]
    kd = [r for r in toy if label_of(r.cell) == "kd"]
    named = [r.model_copy(update={"cell": r.cell.model_copy(update={"options": {"a": 1}})}) for r in kd]
    (board,) = boards([*named[:2], *toy])
    assert {r.label: r.equal_to for r in board.rows if r.equal_to} == {"kd[a=1]": "kd"}
    lines = list(csv.DictReader(io.StringIO(to_csv(Book.of([*named[:2], *toy])))))
    assert {one["method"]: one["equal_to"] for one in lines if one["equal_to"]} == {"kd[a=1]": "kd"}
    (alone,) = boards([r for r in [*named, *toy] if label_of(r.cell) != "kd"])
    assert not any(r.equal_to for r in alone.rows)


def test_records_keep_the_study_and_those_without_one_are_written_as_before(
    make_record: Any, tmp_path: Path
) -> None:
    record = tuned(make_record(), temperature=0.5)
    path = tmp_path / "a.json"
    write_record(record, path)
    assert read_record(path) == record
    assert read_record(path).cell.study == STUDY
    assert label_of(record.cell) == "kd[temperature=0.5] (tuned, 5 trials)"
    assert record.cell.parameters["study"] == "first"
    assert "study" not in json.loads(to_json(make_record()))["cell"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trials": 4}, "best has 5 scores for 4 trials"),
        ({"best": [60.0, 61.0, 60.5, 62.0, 63.0]}, "best gets worse with more trials"),
        ({"best": [60.0, None, 62.0, 62.0, 63.0]}, "best has no score at its end"),
        ({"best": [None] * 5}, "best has no score at its end"),
        ({"digest": "abc"}, "should match pattern"),
        ({"sampler": "grid"}, "Input should be 'qmc' or 'tpe'"),
        ({"confirmed": [1.0]}, "at least 2 items"),
        ({"best": [float("nan")] * 5}, "finite number"),
    ],
)
def test_a_study_that_contradicts_itself_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TuningStudy(**{**STUDY.model_dump(), **changes})
    assert TuningStudy(**{**STUDY.model_dump(), "best": [None, 5.0, 4.0, 4.0, 3.0]})
