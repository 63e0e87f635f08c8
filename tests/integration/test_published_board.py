"""The committed board is what its records say, and the records are what their predictions say."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import ttest_1samp

from pmbench import arrow
from pmbench.report.attestations import read_attestations
from pmbench.report.boards import Board, boards
from pmbench.report.headlines import BRIEF, brief_sentence, mark, methods, sentence
from pmbench.report.pages.book import conclusions_in
from pmbench.report.pages.folder import book_for, check
from pmbench.report.recompute import recompute
from pmbench.report.record import Record
from pmbench.report.record_files import read_files, read_record, read_records
from pmbench.report.statistics import Comparison, holm

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / "leaderboard"
Tables = Mapping[str, Board]


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return read_records(FOLDER / "records")[0]


@pytest.fixture(scope="module")
def tables(records: list[Record]) -> Tables:
    """Title -> table of the published board."""
    return {board.title: board for board in boards(records)}


def docs(name: str) -> str:
    """A page of the documentation, without line breaks."""
    return " ".join((REPOSITORY / "docs" / name).read_text(encoding="utf-8").split())


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


def test_the_conclusions_are_those_of_the_tables(tables: Tables) -> None:
    text = " ".join(conclusions_in(FOLDER))

    def held(table: str) -> str:
        tested = [row for row in methods(tables[table]) if row.gain and row.gain.adjusted is not None]
        return f"{sum(mark(row, tables[table]) == '▲' for row in tested)} of {len(tested)}"

    def gain(table: str, label: str) -> str:
        (row,) = (row for row in tables[table].rows if row.label == label)
        assert row.gain
        return f"{row.gain.difference:.1f}"

    hapt, mfeat, pines = (f"{name}, few-10" for name in ("hapt", "mfeat", "pines"))
    assert f"{held(hapt)} methods on hapt and {held(mfeat)} on mfeat" in text
    nobody, of = held(pines).split(" of ")
    assert nobody == "0"
    assert f"On pines none of {of} is shown to; {tables[pines].smallest_gain:.1f} points" in text
    nothing = [tables["planted, shared-0"], tables["mfeat, fixed"]]
    assert {mark(row, board) for board in nothing for row in methods(board)} <= {"", "▼"}
    least = " and ".join(f"{board.smallest_gain:.1f}" for board in nothing)
    assert f"true gains of {least} points" in text
    kd = [gain(mfeat, label) for label in ("kd[teacher=privileged]", "kd")]
    assert f"kd gains {kd[0]} points from the privileged network and {kd[1]}, not significantly" in text
    for label, other in (("pseudo_label[teacher=privileged]", "pseudo_label"), ("gen_distill",) * 2):
        fused = other if label != other else f"{other}[teacher=fused]"
        assert f"{other} {gain(mfeat, label)} and {gain(mfeat, fused)}" in text
    assert f"kd gains {gain(hapt, 'kd[teacher=privileged]')} and {gain(hapt, 'kd')}" in text
    three, ten, thirty = (gain(f"mfeat, few-{k}", "kd[teacher=privileged]") for k in (3, 10, 30))
    assert f"gains {three} points with three labels a class, {ten} with ten, {thirty} with thirty" in text
    planted = tables["planted, unlabelled-2000"]
    found = [row for row in methods(planted) if mark(row, planted) in ("▲", "△")]
    values = [gain(planted.title, row.label) for row in found]
    assert f"{len(found)} of {len(methods(planted))} methods gain {min(values)} to {max(values)}" in text
    assert not any(row.teacher and row.teacher.label in ("early_fusion", "late_fusion") for row in found)
    assert re.findall(r"be worth ([0-9.]+) points", docs("planted.md")) == ["5.9"]
    assert "worth 5.9 points" in text
    tested = [row for row in methods(tables[hapt]) if row.gain]
    first = sorted(tested, key=lambda row: row.gain.difference if row.gain else 0.0, reverse=True)[:11]
    soft = {"pseudo_label", "dist", "kd", "rad", "rad_dad", "takd", "cmkd", "gen_distill", "mlld"}
    assert {row.label.partition("[")[0] for row in first} == soft
    largest, least = gain(hapt, first[0].label), gain(hapt, first[-1].label)
    assert f"pseudo_label with {largest} points to mlld with {least}" in text
    shown = {row.label for row in methods(tables[hapt]) if mark(row, tables[hapt])}
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


def test_the_examples_of_pitfalls_are_those_of_the_records(tables: Tables) -> None:
    def gains(table: str) -> dict[str, list[float]]:
        """Method -> its gain under each seed, in points."""
        floor = tables[table].floor
        assert floor
        own = {r.cell.seed: r.metrics["accuracy"] for r in floor.records}
        return {
            row.label: [r.metrics["accuracy"] - own[r.cell.seed] for r in row.records]
            for row in methods(tables[table])
        }

    def called_better(table: str, seeds: slice, *, corrected: bool = False) -> int:
        """Methods that a plain paired t-test calls better than the floor."""
        of = [values[seeds] for values in gains(table).values()]
        p_values = [float(ttest_1samp(v, 0).pvalue) for v in of]
        found = holm(p_values) if corrected else p_values
        return sum(p is not None and p < 0.05 and np.mean(v) > 0 for p, v in zip(found, of, strict=True))

    def gain(table: str, label: str) -> Comparison:
        (row,) = (row for row in tables[table].rows if row.label == label)
        assert row.gain
        return row.gain

    pines, nothing, half = "pines, few-10", "planted, shared-0", "planted, shared-10"
    mfeat, hapt = "mfeat, few-10", "hapt, few-10"
    assert max(gains(pines), key=lambda m: gains(pines)[m][3]) == "gen_distill"
    assert called_better(nothing, slice(6, 9)) == 4
    assert len(gains(pines)) == 7
    assert sum(row.gain.better for row in methods(tables[half]) if row.gain) == 6
    for table in (pines, nothing):
        assert not any(row.gain.better for row in methods(tables[table]) if row.gain)
    distilled = gain(pines, "gen_distill")
    best = [max(values) for values in zip(*gains(nothing).values(), strict=True)]
    (added,) = re.findall(r"That would have added (.*?) points", " ".join(front_page().split()))
    private, fused = (gain(mfeat, label).difference for label in ("kd[teacher=privileged]", "kd"))
    two, without = (gain(hapt, label).difference for label in ("hoffman", "target_ensemble"))
    text = docs("pitfalls.md")
    for said in (
        f"seed 3 alone, `gen_distill` gains {gains(pines)['gen_distill'][3]:.1f} points.",
        f"over ten seeds is {distilled.difference:.1f},",
        f"its interval, {distilled.low:.1f} to {distilled.high:.1f}, holds 0.",
        f"best of {len(gains(nothing))} methods still gains {min(best):.1f} to {max(best):.1f} points",
        "finds four methods better than the floor with p < 0.05",
        f"finds {called_better(half, slice(10), corrected=True)} of {len(gains(half))} methods better",
        "Then six are better.",
        f"would have added {added} points, by the mean of a table.",
        f"gains {private:.1f} points from a network that sees the privileged modality alone, and {fused:.1f}",
        f"`hoffman` gains {two:.1f} points with its two networks",
        f"two networks without any privilege gain {without:.1f}.",
        f"less than {tables[pines].smallest_gain:.1f} points",
    ):
        assert said in text


def test_the_front_page_has_the_short_words_alone(tables: Tables) -> None:
    whole, brief = (" ".join(map(text, tables.values())) for text in (sentence, brief_sentence))
    assert [words for words in BRIEF if words not in whole] == [], "replaces what no sentence says"
    assert [words for words in BRIEF if words in brief] == []
    assert all(brief_sentence(board) in " ".join(front_page().split()) for board in tables.values())


def front_page() -> str:
    return (FOLDER / "README.md").read_text(encoding="utf-8")


def test_the_documented_choices_of_the_epoch_are_those_of_the_records(records: list[Record]) -> None:
    script = runpy.run_path(str(REPOSITORY / "benchmarks" / "statistics" / "best_or_last.py"))
    text = docs("statistics.md")
    assert f" {' '.join(script['report'](records).split())} *last - best*" in text, "and no other rows"


def test_the_documented_answer_of_planted_is_that_of_the_table(tables: Tables) -> None:
    page = (REPOSITORY / "docs" / "planted.md").read_text(encoding="utf-8")
    board = tables["planted, unlabelled-2000"]
    found = {row.label: (mark(row, board), row.gain.difference) for row in methods(board) if row.gain}
    named: set[str] = set()
    section = page.partition("## Which methods learn it")[2].partition("A cause is shown")[0]
    for line in section.splitlines():
        if not line.startswith("| `"):
            continue
        cells = line.split(" | ")
        shown = dict(re.findall(r"`(\w+(?:\[teacher=\w+\])?)` ?([▲△]?)", cells[0]))
        for label, sign in shown.items():
            assert sign == (found[label][0] if found[label][0] != "▼" else ""), label
        gains = [found[label][1] for label in shown]
        assert cells[1].strip() == f"{min(gains):.1f} to {max(gains):.1f}"
        assert not named & shown.keys()
        named |= shown.keys()
    assert named == found.keys()
    result = {row.label: f"{row.interval.mean:.1f} %" for row in board.rows}
    text = " ".join(page.split())
    assert f"(`target_only` on `unlabelled-2000`) | {result['target_only']} |" in text
    both, alone = result["early_fusion"], result["privileged_only"]
    assert f"is right on {both} of the test samples where the privileged network is on {alone}" in text
    assert f"find a gain of {board.smallest_gain:.1f} points with 80 % probability" in text
    best = next(row for row in methods(board))
    assert best.gap
    assert f"The best row, `{best.label}`, closes {100 * best.gap.value:.0f} % of the gap" in text


def test_planted_turns_as_it_was_built(tables: Tables) -> None:
    """The privileged network does not mind the share, and no network of the target view passes its limit."""
    limits = {0: 50.0, 10: 75.0, 40: 85.2}
    for share, limit in limits.items():
        board = tables[f"planted, shared-{share}"]
        result = {row.label: row.interval.mean for row in board.rows}
        assert result["privileged_only"] > max(83, result["early_fusion"])
        assert all(row.interval.mean < limit + 3 for row in methods(board))
        assert limit - (11 if share else 3) < result["target_only"] < limit + 3
