"""The committed board is what its records say, and the records are what their predictions say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pmbench import arrow
from pmbench.report.attestations import read_attestations
from pmbench.report.boards import boards
from pmbench.report.headlines import mark, methods
from pmbench.report.pages.book import conclusions_in
from pmbench.report.pages.folder import book_for, check
from pmbench.report.recompute import recompute
from pmbench.report.record_files import read_files, read_record, read_records

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / "leaderboard"


def test_the_committed_leaderboard_is_drawn_from_its_records() -> None:
    records, problems = read_files(FOLDER / "records")
    assert not problems
    assert records
    attested, problems = read_attestations(FOLDER / "attestations")
    assert not problems
    path = FOLDER / "README.md"
    assert check(path, book_for(path, records, figures=True, attestations=attested)) == ""


def test_every_committed_result_is_attested() -> None:
    attested, _ = read_attestations(FOLDER / "attestations")
    done = [r for r in read_records(FOLDER / "records")[0] if r.status == "done"]
    assert {r.cell.seed for r in done} == set(range(10))
    assert {attested.status(record).level for record in done} <= {"reinfer", "retrain"}
    assert len(attested.by_record) == len(done), "no attestation of anything else"


def test_the_conclusions_are_those_of_the_tables() -> None:
    found = {board.title: board for board in boards(read_records(FOLDER / "records")[0])}
    text = " ".join(conclusions_in(FOLDER))

    def held(table: str) -> str:
        tested = [row for row in methods(found[table]) if row.gain and row.gain.adjusted is not None]
        return f"{sum(mark(row, found[table]) == '▲' for row in tested)} of {len(tested)}"

    def gain(table: str, label: str) -> str:
        (row,) = (row for row in found[table].rows if row.label == label)
        assert row.gain
        return f"{row.gain.difference:.1f}"

    hapt, mfeat, pines = (f"{name}, few-10" for name in ("hapt", "mfeat", "pines"))
    assert f"{held(hapt)} methods on hapt and {held(mfeat)} on mfeat" in text
    nobody, of = held(pines).split(" of ")
    assert nobody == "0"
    assert f"On pines none of {of} is shown to; {found[pines].smallest_gain:.1f} points" in text
    nothing = [found["planted, shared-0"], found["mfeat, fixed"]]
    assert {mark(row, board) for board in nothing for row in methods(board)} <= {"", "▼"}
    least = " and ".join(f"{board.smallest_gain:.1f}" for board in nothing)
    assert f"true gains of {least} points" in text
    kd = [gain(mfeat, label) for label in ("kd[teacher=privileged]", "kd")]
    assert f"kd gains {kd[0]} points from the privileged network and {kd[1]}, not significantly" in text
    for label, other in (("pseudo_label[teacher=privileged]", "pseudo_label"), ("gen_distill",) * 2):
        fused = other if label != other else f"{other}[teacher=fused]"
        assert f"{other} {gain(mfeat, label)} and {gain(mfeat, fused)}" in text
    assert f"kd gains {gain(hapt, 'kd[teacher=privileged]')} and {gain(hapt, 'kd')}" in text
    tested = [row for row in methods(found[hapt]) if row.gain]
    first = sorted(tested, key=lambda row: row.gain.difference if row.gain else 0.0, reverse=True)[:11]
    soft = {"pseudo_label", "dist", "kd", "rad", "rad_dad", "takd", "cmkd", "gen_distill", "mlld"}
    assert {row.label.partition("[")[0] for row in first} == soft
    largest, least = gain(hapt, first[0].label), gain(hapt, first[-1].label)
    assert f"pseudo_label with {largest} points to mlld with {least}" in text
    shown = {row.label for row in methods(found[hapt]) if mark(row, found[hapt])}
    assert shown.isdisjoint({"hoffman", "mdms", "admd", "cgan", "adda"})


def test_no_line_of_the_committed_pages_is_long() -> None:
    found = list(FOLDER.rglob("*.md"))
    assert len(found) > 20
    for path in found:
        assert max(map(len, path.read_text(encoding="utf-8").splitlines())) <= 160, path
    front = (FOLDER / "README.md").read_text(encoding="utf-8").splitlines()
    assert sum(not re.match(r"\[[^]]+\]: ", line) for line in front) <= 100, "more than two screens are shown"


def test_published_metrics_follow_from_published_predictions() -> None:
    for record in read_records(FOLDER / "records")[0]:
        if record.status == "done":
            assert recompute(record)
            assert record.provenance.git_dirty is False


def test_published_logits_give_the_published_results() -> None:
    seen = 0
    for file in sorted((FOLDER / "predictions").rglob("*.parquet")):
        name = file.relative_to(FOLDER / "predictions")
        table = pq.read_table(file)
        labels = arrow.to_numpy(table["label"])
        for column in table.column_names[2:]:
            record = read_record(FOLDER / "records" / name.with_name(f"{name.stem}-{column}.json"))
            logits = arrow.to_numpy(table[column].combine_chunks().flatten()).reshape(len(labels), -1)
            assert record.samples is not None
            own_labels, predicted = record.samples.unpack()
            assert np.array_equal(labels, own_labels), (file, column)
            assert np.array_equal(logits.argmax(1), predicted), (file, column)
            found = 100 * (logits.argmax(1) == labels).mean()
            assert found == pytest.approx(record.metrics["accuracy"], abs=1e-9), (file, column)
            seen += 1
    few = [FOLDER / "records" / name / "few-10" for name in ("hapt", "mfeat")]  # of pines: 8,000 pixels each
    finished = [r for folder in few for r in read_records(folder)[0] if r.status == "done"]
    assert seen == len(finished) == 940
    assert sum(file.stat().st_size for file in (FOLDER / "predictions").rglob("*.parquet")) < 30e6


def test_the_program_of_the_docs_ensembles_published_predictions() -> None:
    text = (REPOSITORY / "docs" / "publishing.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    record = read_record(FOLDER / "records/mfeat/few-10/mlp-64+cnn2d-16/rkd-s0.json")
    assert float(first.removeprefix("rkd ")) == pytest.approx(record.metrics["accuracy"])
    assert 50 < float(second.removeprefix("rkd and fitnet ")) < 100
