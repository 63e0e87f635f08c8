"""Figures of ablations: result against one option, and losses by epoch."""

from __future__ import annotations

import warnings
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from pmbench.report.cell import AblationRow
from pmbench.report.pages.book import Book
from pmbench.report.pages.figures import Planned, digest_in, draw, plan
from pmbench.report.pages.folder import pages
from pmbench.report.pages.studies import Loss, Losses, Printed, Result, Study, Terms
from pmbench.report.record import Record

LONG = "a name of a row that is longer than the room for it in any figure of this page"
TERMS = {"ce": [2.0, 1.0], "imitate": [4.0, 0.5]}


def with_terms(record: Record, terms: dict[str, list[float]]) -> Record:
    assert record.validation is not None
    return record.model_copy(update={"validation": record.validation.model_copy(update={"terms": terms})})


def taught_by(record: Record, *stages: str) -> Record:
    """The record with a chain of stages of these names."""
    found: list[Any] = []
    for name in stages:
        key = f"{name} {record.cell.seed}"
        parents = [found[-1].key] if found else []
        found.append(record.stages[0].model_copy(update={"key": key, "parents": parents}))
    return record.model_copy(update={"stages": found})


def row_of(record: Record, row: str, **changes: Any) -> Record:
    """The record as a row of an ablation."""
    cell = record.cell.model_copy(update={"ablation": AblationRow(row=row)})
    return record.model_copy(update={"cell": cell, **changes})


@pytest.fixture
def records(make_record: Any, make_published: Any) -> list[Record]:
    """`noisy`, its student, a method beside them, and an ablation of `variance` and other options."""
    found = []
    for seed in (0, 1):
        noisy = {"tests_on": "all", "role": "reference"}
        found += [
            make_record("target_only", seed, 0.6, role="floor"),
            taught_by(make_record("student", seed, 0.75), "Fused", "Student"),
            taught_by(make_record("other", seed, 0.7), "Stream", "Other"),
            taught_by(with_terms(make_record("noisy", seed, 0.8, **noisy), TERMS), "Fused", "Noise"),
        ]
        for value, right, printed in ((10.0, 0.5, 51.4), (0.0, 0.85, 81.4), (0.1, 0.8, None), (1, 0.7, 62.5)):
            one = make_record("noisy", seed, right, options={"variance": value}, **noisy)
            numbers = (
                []
                if printed is None
                else [make_published(("P", "T", str(value)), ("a",), "far", "accuracy", printed)]
            )
            found.append(row_of(with_terms(one, {"ce": [3.0, 2.0 + value]}), f"v {value}", published=numbers))
        for name, options in (
            ("void", {"variance": None}),
            ("switch", {"variance": True}),
            ("both", {"variance": 5.0, "depth": 2}),
            ("depth", {"depth": 3}),
            ("name", {"kind": "b"}),
            ("full", {}),
        ):
            found.append(row_of(make_record("noisy", seed, 0.6, options=options, **noisy), name))
    return found


def test_a_study_has_the_rows_that_change_its_option_alone(records: list[Record]) -> None:
    planned = plan(Book.of(records))
    assert [name for name, p in planned.items() if p.kind == "study"] == ["toy-split-1-noisy-variance"]
    study = planned["toy-split-1-noisy-variance"].shown
    assert isinstance(study, Study)
    assert study.places == ("0", "0.1", "1", "10")
    values = {
        r.cell.options["variance"]: r.metrics["accuracy"]
        for r in records
        if r.cell.seed == 1 and r.cell.ablation and r.cell.ablation.row.startswith("v ")
    }
    assert [result.seeds[1] for result in study.results] == [values[v] for v in (0.0, 0.1, 1, 10.0)]
    for result in study.results:
        assert result.value == pytest.approx(sum(result.seeds) / 2, abs=1e-5)
    itself = [r.metrics["accuracy"] for r in records if r.cell.method == "noisy" and not r.cell.ablation]
    assert study.itself == ("noisy", pytest.approx(sum(itself) / 2))
    (printed,) = study.printed
    assert (printed.source, printed.metric) == ("P, T: far, split-1", "accuracy")
    assert printed.values == (81.4, None, 62.5, 51.4)
    assert planned["toy-split-1-noisy-variance"].alternative.endswith("the numbers of the paper below")


def test_the_methods_taught_by_the_network_are_lines(records: list[Record]) -> None:
    study = plan(Book.of(records))["toy-split-1-noisy-variance"].shown
    assert isinstance(study, Study)
    student = [r.metrics["accuracy"] for r in records if r.cell.method == "student"]
    assert study.students == (("student", pytest.approx(sum(student) / 2)),)
    target = [
        r.model_copy(update={"cell": r.cell.model_copy(update={"tests_on": "target", "role": "method"})})
        for r in records
    ]
    plain = plan(Book.of(target))["toy-split-1-noisy-variance"].shown
    assert isinstance(plain, Study)
    assert plain.students == (), "it competes with them in the table"


def test_two_values_make_no_study(records: list[Record]) -> None:
    fewer = [r for r in records if r.cell.options.get("variance") not in (0.0, 10.0)]
    assert not [p for p in plan(Book.of(fewer)).values() if p.kind == "study"]


def test_losses_of_rows_with_equal_terms_are_beside_each_other(records: list[Record]) -> None:
    losses = plan(Book.of(records))["toy-split-1-noisy-losses"].shown
    assert isinstance(losses, Losses)
    ((terms, rows),) = losses.panels
    assert terms == "ce"  # the method itself has other terms
    assert {row.label: row.values for row in rows} == {
        f"v {value}": (3.0, 2.0 + value) for value in (0.0, 0.1, 1, 10.0)
    }
    assert not any(row.itself for row in rows)
    other = [
        row_of(with_terms(r, {name: [2 * v for v in values] for name, values in TERMS.items()}), "twice")
        if r.cell.ablation and r.cell.ablation.row == "depth"
        else r
        for r in records
    ]
    both = plan(Book.of(other))["toy-split-1-noisy-losses"].shown
    assert isinstance(both, Losses)
    assert both.panels[0][0] == "ce + imitate"
    itself, twice = both.panels[0][1]
    assert (itself.label, itself.values, itself.itself) == ("noisy", (6.0, 1.5), True)
    assert (twice.label, twice.values, twice.itself) == ("twice", (12.0, 3.0), False)


def test_terms_are_means_over_seeds(make_record: Any) -> None:
    first = with_terms(make_record("kd", 0), {"ce": [1.0, 0.5], "soft": [3.0, 2.0]})
    second = with_terms(make_record("kd", 1), {"ce": [2.0, 1.5], "soft": [5.0, 0.0]})
    shown = plan(Book.of([first, second]))["toy-split-1-terms"].shown
    assert isinstance(shown, Terms)
    assert shown.rows == (("kd", (("ce", (1.5, 1.0)), ("soft", (4.0, 1.0)))),)
    for lacking in ({}, {"ce": [1.0, 1.0]}, {"ce": [1.0], "soft": [1.0]}):
        records = [first, with_terms(make_record("kd", 1), lacking)]
        assert "toy-split-1-terms" not in plan(Book.of(records))


def test_they_are_drawn_and_on_their_pages(records: list[Record]) -> None:
    book = Book.of(records, figures=True)
    names = ["toy-split-1-noisy-variance", "toy-split-1-noisy-losses", "toy-split-1-terms"]
    planned = plan(book)
    for name in names:
        light, dark = draw(planned[name]).values()
        assert ET.fromstring(light).tag.endswith("svg")
        assert digest_in(light) == digest_in(dark) == planned[name].digest
    assert draw(planned[names[0]]) == draw(planned[names[0]])
    texts = pages(book)
    for name in names:
        assert f"figures/{name}.svg" in texts["tables/toy-split-1.md"]
        assert (f"figures/{name}.svg" in texts["methods/noisy.md"]) is (not name.endswith("terms"))
        assert f"figures/{name}" not in texts["methods/student.md"]
    without = pages(Book.of(records))
    assert not any("figures/" in text for text in without.values())


def test_no_line_of_a_picture_is_longer_than_a_page(records: list[Record]) -> None:
    named = [r.model_copy(update={"cell": r.cell.model_copy(update={"dataset": LONG})}) for r in records]
    lines = "\n".join(pages(Book.of(named, figures=True)).values()).splitlines()
    starts = [place for place, line in enumerate(lines) if line.startswith("<img")]
    found = [line for start in starts for line in lines[start : lines.index("</picture>", start)]]
    assert max(map(len, found)) <= 160


def test_records_without_terms_have_no_losses(every_kind: list[Record]) -> None:
    assert not [p for p in plan(Book.of(every_kind)).values() if p.kind in ("terms", "losses", "study")]


ONE = (Result(70.0, None, (70.0,)),) * 3


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("study", Study("t", "x", "accuracy", ("0", "1", "2"), ONE, None, (), ())),
        (
            "study",
            Study(
                "t",
                "x",
                "accuracy",
                ("0", "1", "2"),
                ONE,
                (LONG, 70.0),
                (),
                (Printed(LONG, "f1", (1.0,) * 3),),
            ),
        ),
        ("terms", Terms("t", (("one epoch", (("ce", (1.0,)),)), ("zero", (("ce", (0.0, 0.0)),))))),
        ("terms", Terms("t", (("equal", (("ce", (0.5, 0.5)), (LONG, (-1.0, 0.5)))),))),
        ("losses", Losses("t", ((LONG, tuple(Loss(f"{LONG}{i}", (1.0, 1.0), i == 3) for i in range(40))),))),
    ],
)
def test_extreme_values_are_drawn(kind: str, shown: object) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # as of an axis of no height
        svg = draw(Planned(kind, shown))[""]
    assert ET.fromstring(svg).tag.endswith("svg")
