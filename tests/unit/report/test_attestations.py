"""Attestations: files beside the records, which nobody changes, and what boards show of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pmbench.errors import RecordError, StoreError
from pmbench.report.attestations import (
    Attestation,
    Attestations,
    Machine,
    digest_of,
    read_attestations,
    write_attestation,
)
from pmbench.report.pages.book import Book
from pmbench.report.pages.folder import pages
from pmbench.report.pages.site import site
from pmbench.report.pages.verification import statement
from pmbench.report.record import Record
from pmbench.report.record_files import read_records
from pmbench.report.rows import label_of

RECORDS = Path(__file__).parents[3] / "leaderboard" / "records" / "hapt"
MACHINE = Machine(platform="Linux x86_64", python="3.12.1", torch="2.9.0", device="cpu")


@pytest.fixture(scope="module")
def records() -> list[Record]:
    found, problems = read_records(RECORDS)
    assert not problems
    return [r for r in found if label_of(r.cell) in ("kd", "target_only", "early_fusion")]


def about(record: Record, kind: Any = "verified", day: int = 1, **facts: Any) -> Attestation:
    level = {"level": facts.pop("level", "reinfer")} if kind == "verified" else {"reason": "because"}
    date = f"2026-01-{day:02}T00:00:00+00:00"
    return Attestation(
        record=digest_of(record),
        kind=kind,
        date=date,
        by="a",
        referee="pmbench 1",
        machine=MACHINE,
        **level,
        **facts,
    )


def status(record: Record, *found: Attestation) -> str:
    return Attestations.of(found).status(record).text


def test_the_strongest_level_counts(records):
    one = records[0]
    assert status(one) == "none"
    assert status(one, about(one, level="recompute")) == "recomputed"
    assert status(one, about(one, level="retrain"), about(one, level="recompute", day=2)) == "retrained"
    assert status(records[1], about(one)) == "none", "of another record"


def test_a_withdrawal_lasts(records):
    one = records[0]
    assert status(one, about(one), about(one, "withdrawn", 2)) == "withdrawn"
    assert status(one, about(one, "withdrawn"), about(one, day=2)) == "withdrawn"


def test_what_is_verified_later_is_not_stale(records):
    one = records[0]
    assert status(one, about(one), about(one, "stale", 2)) == "re-inferred, stale"
    assert status(one, about(one, "stale"), about(one, day=2)) == "re-inferred"


def test_a_row_is_as_weak_as_its_weakest_seed(records):
    row = [r for r in records if r.cell.method == "kd"][:3]
    strong = [about(r, level="retrain") for r in row[:2]]
    assert Attestations.of(strong).of_row(row).text == "none"
    assert Attestations.of([*strong, about(row[2])]).of_row(row).text == "re-inferred"
    withdrawn = Attestations.of([*strong, about(row[2]), about(row[0], "withdrawn", 2)])
    assert withdrawn.of_row(row).text == "withdrawn"


def test_one_edited_digit_of_a_record_is_another_record(records):
    one = records[0]
    other = one.model_copy(update={"metrics": {**one.metrics, "accuracy": 99.0}})
    assert status(other, about(one)) == "none"


def test_files_are_written_once(records, tmp_path):
    one = about(records[0])
    path = write_attestation(one, tmp_path)
    assert read_attestations(tmp_path)[0].by_record == {one.record: (one,)}
    with pytest.raises(StoreError, match="never changed"):
        write_attestation(one, tmp_path)
    path.rename(tmp_path / "mine.json")
    found, problems = read_attestations(tmp_path)
    assert not found
    assert "the name of this attestation is" in problems[0].message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"level": None}, "a level, if and only if"),
        ({"kind": "withdrawn", "level": None}, "needs a reason"),
        ({"record": "kd"}, "record: String should match"),
        ({"level": "perfect"}, "level: Input should be"),
        ({"date": "soon"}, "date: String should match"),
        ({"better": True}, "better: Extra inputs"),
    ],
)
def test_invalid_files_are_named(records, tmp_path, change, words):
    content = {**about(records[0]).model_dump(mode="json"), **change}
    (tmp_path / "a.json").write_text(json.dumps(content))
    found, problems = read_attestations(tmp_path)
    assert not found
    assert isinstance(problems[0], RecordError)
    assert words in problems[0].message


def test_the_board_shows_levels_only_with_attestations(records):
    plain = pages(Book.of(records))
    assert not any("verification" in text for text in plain.values())
    found = [about(r, level="retrain") for r in records if r.cell.method == "kd"]
    found += [about(r) for r in records if r.cell.method == "target_only"]
    found += [about(r, "withdrawn", 3) for r in records if r.cell.method == "target_only"][:1]
    (page,) = [
        t for p, t in pages(Book.of(records, attestations=Attestations.of(found))).items() if "tables/" in p
    ]
    (kd,) = [line for line in page.splitlines() if line.startswith("| [`kd`]") and "retrained" in line]
    assert kd.endswith("| retrained |")
    assert any(line.startswith("| [`target_only`]") and "withdrawn" in line for line in page.splitlines())
    assert "- target_only, withdrawn: because" in page


def test_one_sentence_of_the_front_page_counts_levels(records):
    assert statement(Book.of(records)) == ""
    found = [about(r, level="retrain") for r in records if r.cell.method == "kd"]
    found += [about(r) for r in records if r.cell.method == "target_only"][:2]
    book = Book.of(records, attestations=Attestations.of(found))
    text = "Verification by referees: of 3 rows, 1 is retrained and 2 are not verified (retrained: one seed"
    assert statement(book).startswith(text)
    assert text in " ".join(pages(book)["README.md"].split())
    book = Book.of(records, attestations=Attestations.of(map(about, records)))
    (page,) = [text for path, text in pages(book).items() if path.startswith("tables/")]
    assert "- verification by referees: every row is re-inferred" in page
    assert "| verification |" not in page


def test_the_site_shows_levels_and_escapes_reasons(make_record):
    rows = (("target_only", 0.6, "floor"), ("kd", 0.7, "method"), ("rad", 0.65, "method"))
    records = [make_record(name, 0, right, role=role) for name, right, role in rows]
    floor, *_ = records
    found = [about(r) for r in records if r.cell.method == "kd"]
    hostile = about(floor, "withdrawn").model_copy(update={"reason": "<script>alert(1)</script>"})
    book = Book.of(records, attestations=Attestations.of([*found, hostile]))
    written = site(book, [])
    (page,) = [text for path, text in written.items() if path.startswith("tables/")]
    assert ">verification</th>" in page
    for word in ("re-inferred", "withdrawn", "none"):
        assert page.count(f'data-value="{word}">{word}</td>') == 1
    assert "<li>target_only, withdrawn: &lt;script&gt;alert(1)&lt;/script&gt;</li>" in page
    assert "<script>alert" not in page
    assert statement(book) in written["index.html"]
    assert "re-inferred" in written["leaderboard.csv"]
    (page,) = [text for path, text in pages(book).items() if path.startswith("tables/")]
    assert "target_only, withdrawn: &lt;script>alert(1)" in page


def test_leaderboard_takes_the_folder_beside_the_records(tmp_path, records):
    from typer.testing import CliRunner

    from pmbench.cli.app import app

    shutil.copytree(RECORDS, tmp_path / "records" / "hapt")
    for record in records:
        write_attestation(about(record), tmp_path / "attestations")
    done = CliRunner().invoke(app, ["leaderboard", "--records", str(tmp_path / "records"), "--json"])
    rows = {row["method"]: row["verification"] for row in json.loads(done.stdout)[0]["rows"]}
    assert rows["kd"] == rows["target_only"] == "re-inferred"
    assert rows["hoffman"] == "none"
