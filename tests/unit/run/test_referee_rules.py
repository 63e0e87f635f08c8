"""Rules of the referee on values: plausibility, copies, recipes, passes, programs, training again."""

from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pmbench.contracts.recipe import Recipe
from pmbench.errors import DataError, UsageError
from pmbench.plugins import load_plugins
from pmbench.report.packing import pack
from pmbench.report.record_files import read_record, read_records
from pmbench.report.rows import label_of
from pmbench.report.submission import Entry, Submission
from pmbench.run.plan import recipe_name
from pmbench.run.referee.case import KNOWN, Case, recipe_of, source_digest
from pmbench.run.referee.comment import comment
from pmbench.run.referee.outcome import Problem, Report, Result, run
from pmbench.run.referee.programs import contents_of, passes_of
from pmbench.run.referee.retrain import compare
from pmbench.run.referee.seeds import copied, implausible, serves_a_claim

REPOSITORY = Path(__file__).parents[3]
RECORDS = REPOSITORY / "leaderboard" / "records"


@pytest.fixture(scope="module")
def records():
    return read_records(RECORDS)[0]


def test_known_plugins_are_those_of_the_repository():
    listeners = {f"pmbench-{name}" for name in ("mlflow", "tensorboard", "wandb")}  # in no record
    assert {path.name for path in (REPOSITORY / "plugins").glob("pmbench-*")} - listeners == KNOWN


# --- plausibility -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "better", "worse"),
    [
        ("hoffman", True, False),
        ("target_only", False, True),
        ("self_distill", False, True),
        ("privileged_only", True, True),
    ],
)
def test_an_outlier_that_serves_no_claim_is_let_pass(row, better, worse):
    record = read_record(RECORDS / "mfeat" / "few-10" / "mlp-64+cnn2d-16" / f"{row}-s0.json")
    assert serves_a_claim(record, record.metrics["accuracy"] - 10) is better
    assert serves_a_claim(record, record.metrics["accuracy"] + 10) is worse


def test_a_seed_far_from_the_others_is_implausible():
    rng = np.random.default_rng(0)
    values = {name: list(rng.normal(70, 1, 5)) for name in "abcd"}
    assert not list(implausible(values))
    values["b"][3] += 12
    assert [(label, place) for label, place, _ in implausible(values)] == [("b", 3)]


def test_a_row_that_varies_more_than_the_others_is_held_to_its_own_variance():
    rng = np.random.default_rng(0)
    values = {name: list(rng.normal(50, 2, 10)) for name in "abcdef"}
    values["wild"] = [28.0, 31.0, 55.0, 60.0, 47.0, 64.0, 38.0, 58.0, 52.0, 66.0]
    assert not list(implausible(values))
    values["a"][3] = 99.0
    assert [(label, place) for label, place, _ in implausible(values)] == [("a", 3)]


def test_two_seeds_are_too_few_to_say():
    assert not list(implausible({"a": [50.0, 99.0], "b": [60.0, 60.1]}))


def test_honest_results_are_refused_in_one_of_ten_thousand_tables():
    rng = np.random.default_rng(0)
    wrong = sum(
        bool(list(implausible({name: list(rng.normal(70, 2, 3)) for name in "abcde"}))) for _ in range(60)
    )
    assert wrong == 0


def test_the_published_board_is_plausible(records):
    tables: dict = {}
    for r in records:
        if r.status == "done":
            key = (r.cell.dataset, r.cell.protocol, r.cell.value_set)
            tables.setdefault(key, {}).setdefault(label_of(r.cell), []).append(r)
    assert tables
    for rows in tables.values():
        values = {label: [r.metrics[r.primary] for r in row] for label, row in rows.items()}
        for label, place, _ in implausible(values):  # honest, since a training broke down
            others = np.mean([v for n, v in enumerate(values[label]) if n != place])
            assert not serves_a_claim(rows[label][place], others)


# --- copies -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_no_two_rows_of_the_published_board_are_copies(records):
    done = [r for r in records if r.status == "done" and r.cell.dataset == "mfeat"]
    for n, a in enumerate(done):
        for b in done[:n]:
            if a.stages[-1].key != b.stages[-1].key:
                assert not copied(a, b), (label_of(a.cell), label_of(b.cell))


def test_a_copy_with_a_few_changes_is_found(records):
    a, b = [r for r in records if r.cell.method == "kd" and r.cell.dataset == "hapt"][:2]
    labels, theirs = b.samples.unpack()
    assert not copied(a, b)
    mine = theirs.copy()
    mine[np.flatnonzero(mine != labels)[:5]] = labels[mine != labels][:5]
    forged = a.model_copy(update={"samples": a.samples.model_copy(update={"predicted": pack(mine)})})
    assert "its errors are those of kd" in copied(forged, b)


# --- recipes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [{}, {"epochs": 1}, {"lr": 0.003, "select": "last"}, {"milestones": (0.5, 0.75)}, {"milestones": (0.5,)}],
)
def test_a_recipe_is_read_from_its_words(changes):
    dataset = load_plugins({"pmbench"}).dataset("planted")
    recipe = dataset.recipe.but(**changes)
    assert recipe_of(recipe_name(dataset, recipe), dataset.recipes) == recipe


@pytest.mark.parametrize("text", ["best", "standard, luck=1", "standard, epochs", "standard, epochs=many"])
def test_other_words_are_no_recipe(text):
    with pytest.raises(UsageError):
        recipe_of(text, {"standard": Recipe()})


# --- programs and training ----------------------------------------------------------------------------------


def test_passes_are_drawn_anew_for_each_nonce():
    found = [passes_of(str(n)) for n in range(50)]
    assert len(set(found)) == 50
    assert passes_of("1") == found[1]
    assert all(5 <= small < 30 and 100 <= large < 250 for (_, small), (_, large) in found)


@pytest.mark.parametrize(
    "entries", [{}, {"archive/models/model.json": "{}"}, {"archive/models/model.json": "["}]
)
def test_an_archive_without_description_is_no_program(tmp_path, entries):
    with zipfile.ZipFile(tmp_path / "a.pt2", "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    with pytest.raises(DataError, match="does not describe a program"):
        contents_of(tmp_path / "a.pt2")


def test_training_again_may_differ_by_the_spread_of_seeds():
    record = read_record(RECORDS / "hapt" / "few-10" / "cnn1d-8" / "kd-s0.json")
    assert not list(compare(record, record, 0.0))
    digests = record.digests.model_copy(update={"predictions": "0" * 64})
    metrics = {**record.metrics, "accuracy": record.metrics["accuracy"] + 3}
    again = record.model_copy(update={"digests": digests, "metrics": metrics})
    assert "other bits" in "".join(compare(record, again, 0.0))
    assert not list(compare(record, again, 3.5))
    assert "more than 2.50 apart" in "".join(compare(record, again, 2.5))


def test_a_source_digest_is_that_of_the_modules_of_a_distribution():
    assert len({source_digest("pmbench-kd"), source_digest("pmbench-amid")}) == 2
    assert source_digest("pmbench-kd") == source_digest("pmbench-kd")


# --- reports ------------------------------------------------------------------------------------------------


def breaks(case):
    yield Problem("a", "edited")
    raise ValueError("\x1b]hostile")


def test_a_check_that_breaks_is_no_pass():
    (result,) = run([breaks], "recompute", None)
    assert (result.check, result.verdict) == ("breaks", "refused")
    assert [p.checked for p in result.problems] == [True, False]
    assert "\x1b" not in str(Report("x", "recompute", (result,)).as_json())


def test_a_comment_shows_texts_of_others_as_code_and_marks_new_rows(records, tmp_path):
    some = [r for r in records if r.cell.dataset == "hapt" and label_of(r.cell) in ("target_only", "kd")]
    entries = tuple(Entry(tmp_path, f"{n}.json", record) for n, record in enumerate(some))
    case = Case(
        Submission(tmp_path, None, entries, ()), tmp_path, own=[r for r in some if r.cell.method != "kd"]
    )
    lacks = Problem("a`b", "@everyone ![x](http://x)\n# no", checked=False)
    text = comment(case, Report("x", "recompute", (Result("one_check", "recompute", (lacks,)),)))
    assert text.startswith(
        "## Referee: not everything could be checked, which is no pass\n\nNo level is reached."
    )
    assert "- `a'b`: `@everyone ![x](http://x) # no`" in text
    assert [line.endswith("| **new** |") for line in text.splitlines() if line.startswith("| `")] == [
        True,
        False,
    ]
    wrong = Result("one_check", "recompute", tuple(Problem(str(n), "edited") for n in range(60)))
    text = comment(case, Report("x", "recompute", (wrong,)))
    assert "and 10 more" in text
    assert "**new**" not in text, "what is refused is not compared"


def test_a_level_is_reached_if_everything_before_has_passed():
    lacks, wrong = Problem("a", "no data", checked=False), Problem("b", "edited")
    results = (Result("one", "recompute"), Result("two", "reinfer"))
    report = Report("x", "reinfer", results)
    assert (report.verdict, report.reached) == ("passed", "reinfer")
    report = dataclasses.replace(report, results=(results[0], Result("two", "reinfer", (lacks,))))
    assert (report.verdict, report.reached) == ("not checked", "recompute")
    report = dataclasses.replace(report, results=(Result("one", "recompute", (lacks, wrong)), results[1]))
    assert (report.verdict, report.reached) == ("refused", None)
    assert [p.file for _, p in report.problems("refused")] == ["b"]
    assert [p.file for _, p in report.problems("not checked")] == ["a"]
