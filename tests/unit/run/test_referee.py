"""Honest submissions pass, and every kind of forgery is refused at the level that can see it.

One real run of two seeds is published; forgeries are changed copies of that submission.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from forging import Answers, Content, Forger, Neighbours, Noise, Privileged

from pmbench.data.prepared import open_prepared
from pmbench.evaluation.evaluator import PRELOAD, Evaluator
from pmbench.isolation.forkserver import Forkserver
from pmbench.plugins import load_plugins, survey
from pmbench.report.record_files import read_record, read_records
from pmbench.report.submission import read_submission
from pmbench.run.collecting import Choice, collect
from pmbench.run.coordinator import Runner
from pmbench.run.executors.inline import Inline
from pmbench.run.plan import make_plan
from pmbench.run.provenance import provenance
from pmbench.run.publishing import Author, publish
from pmbench.run.recording import Recorder
from pmbench.run.referee.case import Case
from pmbench.run.referee.outcome import Report, run
from pmbench.run.referee.retrain import Silent, _train, compare, drawn
from pmbench.run.referee.verify import CHECKS, verify
from pmbench.run.request import Request
from pmbench.run.worker import Resources
from pmbench.store.store import Store

pytestmark = pytest.mark.slow
TEST = "shared-10-test"
AUTHOR = Author("jane", "jane@example.org", "CC-BY-4.0", "synthetic", {})
TABLE = (Path(__file__).parents[3] / "docs" / "publishing.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("published")


@pytest.fixture(scope="module")
def registry():
    return survey({"pmbench-kd"})


@pytest.fixture(scope="module")
def honest(root, registry) -> Path:
    """A submission of `kd` with its references, on two seeds."""
    plugins, resources = load_plugins(), Resources(root / "store", root / "data")
    store = Store(resources.store)
    request = Request(("kd",), ("planted",), seeds=(0, 1), sets=("recipe.epochs=1",))
    plan = make_plan(request, plugins, resources.data, store)
    recorder = Recorder(
        lambda precision: provenance(plugins, "cpu", 1, "none", ("run",), precision), plugins.published
    )
    outcome = Runner(plan, plugins, resources, root / "out", 0, recorder, Silent(), Inline).execute()
    assert not outcome.failed, outcome.failed
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    found, _ = collect([root / "out"], Choice(), registry)
    return publish(found, root, AUTHOR, 2, today, registry, store)


@pytest.fixture
def forger(honest, tmp_path) -> Forger:
    return Forger(honest, tmp_path)


@pytest.fixture(scope="module")
def case_of(root, registry):
    """Makes the case of a folder; all share plugins and the server of processes, which take time to start."""
    evaluator = Evaluator(Forkserver(PRELOAD, {}))

    def case_of(folder: Path, **facts) -> Case:
        case = Case(read_submission(folder), root / "data", nonce="secret", **facts)
        case.__dict__.update(registry=registry, evaluator=evaluator)
        return case

    yield case_of
    evaluator.server.close()


@pytest.fixture
def judge(case_of):
    """What the referee says of a folder."""

    def judge(folder: Path, level: str = "recompute", **facts) -> Report:
        return verify(case_of(folder, **facts), level)

    return judge


@pytest.fixture
def judge_program(case_of, judge):
    """The same at level reinfer, where only the programs of floor and method of seed 0 run: time is short."""

    def judge_program(folder: Path, seed: int) -> Report:
        report = judge(folder)
        case = case_of(folder)
        some = [e for e in case.submission.done if e.record.cell.method in ("kd", "target_only")]
        some = [e for e in some if e.record.cell.seed == seed]
        case.submission = dataclasses.replace(case.submission, entries=tuple(some))
        return dataclasses.replace(
            report, results=(*report.results, *run(CHECKS["reinfer"], "reinfer", case))
        )

    return judge_program


def reasons(report: Report) -> str:
    return "\n".join(f"{r.check}: {p.file}: {p.reason}" for r, p in report.problems("refused"))


# --- honest -------------------------------------------------------------------------------------------------


def test_an_honest_submission_passes(honest, judge):
    report = judge(honest, "reinfer")
    assert (report.verdict, report.reached) == ("passed", "reinfer"), reasons(report)
    assert len(report.results) == 22
    json.dumps(report.as_json())


def test_training_again_gives_the_same_bits(honest, judge):
    report = judge(honest, "retrain", exact=True)
    assert (report.verdict, report.reached) == ("passed", "retrain"), report.as_json()
    assert any("trained again: seed" in note for note in report.notes)


def test_without_data_little_is_checked_and_that_is_no_pass(honest, tmp_path, registry):
    case = Case(read_submission(honest), tmp_path / "no data", nonce="secret")
    case.__dict__["registry"] = registry
    case.prepared("planted")  # embedded: prepared on first use
    shutil.rmtree(tmp_path / "no data")
    (tmp_path / "no data").write_text("not a folder")
    case = Case(read_submission(honest), tmp_path / "no data", nonce="secret")
    case.__dict__["registry"] = registry
    report = verify(case, "reinfer")
    assert (report.verdict, report.reached) == ("not checked", None)
    unchecked = {result.check for result in report.results if result.verdict == "not checked"}
    assert unchecked == {
        "data_is_that_of_the_referee",
        "results_are_those_of_official_labels",
        "cells_are_as_planned",
        "programs_give_their_predictions",
    }


def test_an_unknown_plugin_is_not_imported(honest, root, judge, registry, forger):
    forger.statement('distribution = "pmbench-kd"', 'distribution = "pmbench-mine"')
    report = judge(forger.folder)
    assert "pmbench-mine is no known plugin" in str(report.as_json())
    case = Case(read_submission(honest), root / "data")
    assert set(case.registry.distributions) >= {"pmbench", "pmbench-kd"}
    case = Case(read_submission(honest), root / "data")
    case.__dict__["registry"] = survey(set())
    report = verify(case, "recompute")
    assert report.verdict == "not checked"
    assert "unknown method 'kd'" in str(report.as_json())


# --- forgeries ----------------------------------------------------------------------------------------------


def put(path: str, value):
    def change(content: Content) -> None:
        *above, last = [int(p) if p.isdigit() else p for p in path.split(".")]
        for step in above:
            content = content[step]
        content[last] = value

    return change


def edited(path: str, value, row: str = "kd"):
    return lambda forger, data: forger.edit(put(path, value), row)


def edited_predictions(forger: Forger, data) -> None:
    """Half of the errors are corrected, and everything that follows from them."""
    logits, labels = forger.logits(), forger.labels()
    wrong = np.flatnonzero(logits.argmax(1) != labels)[::2]
    logits[wrong] = logits[wrong][:, ::-1]
    forger.predict(logits)


def perfect_seed(forger: Forger, data) -> None:
    forger.predict(np.eye(2)[forger.labels()] * 9, "kd", 1)


def dropped_seed(forger: Forger, data) -> None:
    forger.predictions("kd", 1).unlink()
    forger.program("kd", 1).unlink()
    forger.path("kd", 1).unlink()


def renamed_seed(forger: Forger, data) -> None:
    content = forger.read("kd", 0)
    content["cell"]["seed"] = 1
    dropped = forger.predictions("kd", 1), forger.program("kd", 1)
    forger.write(content, "kd", 1)
    for path in dropped:
        path.unlink()


def repeated_seed(forger: Forger, data) -> None:
    path = forger.path("kd", 0)
    shutil.copyfile(path, path.with_name(f"again-{path.name}"))


def other_seeds(forger: Forger, data) -> None:
    forger.statement("seeds = 2", "seeds = 10")


def no_floor(forger: Forger, data) -> None:
    for seed in (0, 1):
        forger.predictions("target_only", seed).unlink()
        forger.program("target_only", seed).unlink()
        forger.path("target_only", seed).unlink()


def wrong_split(forger: Forger, data) -> None:
    """Predictions for the validation part."""
    logits, (ids, _) = forger.logits(), data.index("shared-10-validation")
    names = [ids[n] if n < len(ids) else f"x{n}" for n in range(len(logits))]
    forger.predict(logits, ids=names)


def copied_row(forger: Forger, data) -> None:
    """The predictions of another seed, with a little noise."""
    rng = np.random.default_rng(0)
    logits = forger.logits("early_fusion", 1)
    forger.predict(logits + rng.normal(0, 1e-3, logits.shape), "kd", 0)


def relabelled_ceiling(forger: Forger, data) -> None:
    """A network that is given the privileged modality, as a method on the target alone."""

    def change(content: Content) -> None:
        cell = content["cell"]
        cell.update(role="method", method="kd", tests_on="target", test_modalities=cell["target"])

    content = forger.read("early_fusion")
    change(content)
    before = forger.predictions("kd"), forger.program("kd")
    forger.write(content, "kd")
    for path in before:
        path.unlink()


def false_floor(forger: Forger, data) -> None:
    """A floor that is worse than it was."""
    logits = forger.logits("target_only")
    logits[::3] = logits[::3][:, ::-1]
    forger.predict(logits, "target_only")


def another_as_floor(forger: Forger, data) -> None:
    forger.edit(put("cell.role", "floor"), "kd")


def truncated_predictions(forger: Forger, data) -> None:
    path = forger.predictions()
    path.write_bytes(path.read_bytes()[:-100])


def truncated_program(forger: Forger, data) -> None:
    path = forger.folder / "short.pt2"
    path.write_bytes(forger.program().read_bytes()[:-2000])
    forger.replace_program(path)
    path.unlink()


def truncated_record(forger: Forger, data) -> None:
    path = forger.path("kd")
    path.write_text(path.read_text()[:500])


def truncated_statement(forger: Forger, data) -> None:
    path = forger.folder / "submission.toml"
    path.write_text(path.read_text()[:60])


def huge_program(forger: Forger, data) -> None:
    os.truncate(forger.program(), 3 << 30)


def huge_statement(forger: Forger, data) -> None:
    os.truncate(forger.folder / "submission.toml", 1 << 20)


def bomb_program(forger: Forger, data) -> None:
    path = forger.folder / "bomb.pt2"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(
        "archive/data/weights/weight_0", "w", force_zip64=True
    ) as entry:  # fmt: skip
        for _ in range(17):
            entry.write(bytes(1 << 26))
    forger.replace_program(path)
    path.unlink()


def link_out(forger: Forger, data) -> None:
    path = forger.predictions()
    path.unlink()
    path.symlink_to("/etc/hostname")


def foreign_file(forger: Forger, data) -> None:
    (forger.folder / "setup.py").write_text("print('hello')")


def own_attestation(forger: Forger, data) -> None:
    (forger.folder / "attestations").mkdir()
    (forger.folder / "attestations" / "kd.json").write_text('{"level": "retrain"}')


def unnamed_predictions(forger: Forger, data) -> None:
    shutil.copyfile(forger.predictions(), forger.folder / "predictions" / f"{'0' * 64}.parquet")


def raw(text_before: str, text_after: str):
    """Changes the text of a record, without the care that a reader takes."""

    def change(forger: Forger, data) -> None:
        path = forger.path("kd")
        text = path.read_text(encoding="utf-8")
        assert text_before in text
        path.write_text(text.replace(text_before, text_after, 1), encoding="utf-8")

    return change


def cheaper_stage(forger: Forger, data) -> None:
    """Half of the training time, of one record."""

    def change(content: Content) -> None:
        for stage in content["stages"]:
            stage["seconds"] /= 2
        content["cost"]["train_seconds"] = sum(s["seconds"] for s in content["stages"])
        spent = sum(s["seconds"] for s in content["stages"] if not s["reused"])
        content["cost"]["train_seconds_spent"] = spent

    forger.edit(change)


def fewer_epochs(forger: Forger, data) -> None:
    def change(content: Content) -> None:
        content["stages"][-1].update(epochs=9)

    forger.edit(change)


def two_samples_less(forger: Forger, data) -> None:
    logits = forger.logits()
    forger.predict(logits, ids=[f"x{n}" for n in range(len(logits))])


PUBLISHED = {
    "paper": "p",
    "table": "t",
    "variant": "v",
    "test_modalities": ["target_view"],
    "dataset": "planted",
    "protocol": "shared-10",
    "metric": "accuracy",
    "value": 1.0,
    "higher_is_better": True,
}
RECOMPUTE = {
    "edited metric": (edited("metrics.accuracy", 99.0), "but its predictions give"),
    "edited predictions, old digest": (
        lambda f, d: f.predictions().write_bytes(f.predictions("kd", 1).read_bytes()),
        "is another file",
    ),
    "dropped seed": (dropped_seed, "kd lacks seed 1"),
    "renamed seed": (renamed_seed, "its stages are not those of the plan"),
    "repeated seed": (repeated_seed, "kd has seed 0 twice"),
    "fewer seeds than declared": (other_seeds, "lacks seed 2, 3, 4, 5, 6, 7, 8, 9"),
    "no floor": (no_floor, "lacks the reference rows target_only"),
    "wrong split": (wrong_split, "predictions for other samples than the test part"),
    "invented samples": (two_samples_less, "predictions for other samples than the test part"),
    "another protocol": (edited("cell.protocol", "shared-20"), "its stages are not those of the plan"),
    "another seed's number": (edited("cell.seed", 7), "which is not mandated"),
    "copied predictions": (copied_row, "its predictions are those of"),
    "relabelled ceiling": (relabelled_ceiling, "its stages are not those of the plan"),
    "a method as floor": (another_as_floor, "role is 'floor'; planned is 'method'"),
    "made-up key": (edited("cell_key", "0" * 64), "its key is 000000000000"),
    "made-up key of a row": (edited("row_key", "0" * 64), "the key of its row is 000000000000"),
    "false number of networks": (edited("cost.networks", 3), "3 networks at test; the method has 1"),
    "false training time": (cheaper_stage, "has another seconds than in"),
    "false epochs": (fewer_epochs, "has 9 epochs; planned are 1"),
    "false date": (edited("provenance.date", "2999-01-01"), "dated 2999-01-01, after its submission"),
    "false date of the submission": (
        lambda f, d: f.statement('date = "', 'date = "1'),
        "date: String should match",
    ),
    "stale version of the data": (edited("cell.dataset_version", 0), "version 0 of planted; today's is 1"),
    "other data": (edited("digests.data", "1" * 64), "the digest of its data is not that"),
    "other labels": (edited("digests.labels", "1" * 64), "the digest of its labels is not that"),
    "hidden selection on the test part": (
        edited("validation.rule", "best epoch on test data"),
        "is selected by another rule",
    ),
    "invented published number": (
        edited("published", [PUBLISHED]),
        "its published numbers are not those of the papers",
    ),
    "truncated predictions": (truncated_predictions, "cannot be read"),
    "truncated record": (truncated_record, "not JSON"),
    "truncated statement": (truncated_statement, "submission.toml"),
    "huge program": (huge_program, "3,221,225,472 bytes; at most 1,073,741,824"),
    "huge statement": (huge_statement, "1,048,576 bytes; at most 65,536"),
    "link out of the folder": (link_out, "not a regular file"),
    "a file of its own": (foreign_file, "setup.py: has no place in a submission"),
    "verification claimed in a file": (own_attestation, "attestations/kd.json: has no place in a submission"),
    "verification claimed in a record": (edited("verification", "retrained"), "verification: Extra inputs"),
    "verification claimed in the statement": (
        lambda f, d: f.statement("seeds = 2", 'seeds = 2\nverified = "retrain"'),
        "verified: Extra inputs",
    ),
    "predictions without record": (unnamed_predictions, "no record names it"),
    "markup in a record": (edited("deviations", ["<script>alert(1)</script>"]), "holds markup (<s)"),
    "link in a record": (edited("provenance.torch", "[2.9](http://x)"), "holds markup (]()"),
    "escape sequence in a record": (raw('"planted"', '"plan\\u001b[2Jted"'), "holds control or direction"),
    "text that turns around in a record": (
        raw('"deviations": []', '"deviations": ["\\u202egnirts"]'),
        "holds control or direction",
    ),
    "escape sequence in the statement": (
        lambda f, d: f.statement("synthetic", "\\u001b]0;title\\u0007"),
        "holds control or direction",
    ),
    "markup in the statement": (lambda f, d: f.statement("synthetic", "<img src=x>"), "holds markup (<i)"),
    "an edited record that is read alike": (
        raw('"schema_version": 3', '"schema_version":  3'),
        "not the text that",
    ),
    "an unnamed plugin": (
        lambda f, d: f.statement('distribution = "pmbench-kd"', 'distribution = "pmbench-ucf"'),
        "names no plugin pmbench-kd",
    ),
}


def table_of_answers(forger: Forger, data) -> None:
    samples = np.asarray(data.column(TEST, "target_view").array)
    answers = np.eye(2)[forger.labels()] * 5
    forger.seal(Answers(samples, answers))
    forger.predict(answers)


def padded_table(forger: Forger, data) -> None:
    samples = np.asarray(data.column(TEST, "target_view").array)
    answers = np.eye(2)[forger.labels()] * 5
    forger.seal(Answers(samples, answers, 17))
    forger.predict(answers)


def neighbours(forger: Forger, data) -> None:
    forger.seal(Neighbours())


def privileged(forger: Forger, data) -> None:
    forger.seal(Privileged(), 2)


def random_draws(forger: Forger, data) -> None:
    forger.seal(Noise())


def another_program(forger: Forger, data) -> None:
    forger.replace_program(forger.program("early_fusion", 0).with_name(forger.program("self_distill").name))
    macs = forger.read("self_distill")["cost"]
    forger.edit(lambda c: c["cost"].update({n: macs[n] for n in ("parameters", "buffers", "macs")}))


def unknown_operation(forger: Forger, data) -> None:
    path = forger.folder / "changed.pt2"
    with zipfile.ZipFile(forger.program()) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            if entry.filename.endswith("models/model.json"):
                content = content.replace(b"torch.ops.aten.relu.default", b"torch.ops.aten.from_file.default")
            new.writestr(entry.filename, content)
    forger.replace_program(path)
    path.unlink()


REINFER = {
    "edited predictions, metrics recomputed": (edited_predictions, "its program gives other logits"),
    "false floor": (false_floor, "its program gives other logits"),
    "another program than the one that predicted": (another_program, "its program gives other logits"),
    "privileged input in the signature": (privileged, "its program takes 50 and 50; expected 50"),
    "table of answers in buffers": (table_of_answers, "a table for 1000 test samples"),
    "padded table of answers": (padded_table, "enough for answers to 1000 test samples"),
    "reads its neighbours in the batch": (neighbours, "with the samples beside it in a batch"),
    "draws random numbers": (random_draws, "not among the operations of sealed programs"),
    "an operation that opens files": (unknown_operation, "not among the operations of sealed programs"),
    "truncated program": (truncated_program, "its program"),
    "program that unpacks to a gigabyte": (bomb_program, "bytes unpacked; at most"),
    "false parameters": (edited("cost.parameters", 1), "1 parameters are stated; its program has"),
    "false multiply-accumulates": (edited("cost.macs", 1), "1 macs are stated; its program has"),
    "false buffers": (edited("cost.buffers", 1), "1 buffers are stated; its program has"),
    "a perfect seed": (perfect_seed, "its program gives other logits"),
}
RETRAIN = {
    "false samples": ("samples is 7", lambda content: content["stages"][-1].update(samples=7)),
    "made-up validation curve": ("validation curve", put("validation.curve", [99.0])),
    "made-up selection": ("validation curve", put("validation.selected", 99.0)),
    "made-up audit": ("audit", put("audit.test", 12.0)),
}


@pytest.mark.parametrize("kind", RECOMPUTE)
def test_recompute_refuses(kind, forger, judge, root, registry):
    change, words = RECOMPUTE[kind]
    change(forger, open_prepared(registry.dataset("planted"), root / "data"))
    report = judge(forger.folder)
    assert report.verdict == "refused", report.as_json()
    assert words in reasons(report)
    assert not set(json.dumps(report.as_json(), ensure_ascii=False)) & set("\x1b\x07\u202e")


@pytest.mark.parametrize("kind", REINFER)
def test_reinfer_refuses_what_recompute_lets_pass(kind, forger, judge_program, root, registry):
    change, words = REINFER[kind]
    change(forger, open_prepared(registry.dataset("planted"), root / "data"))
    report = judge_program(forger.folder, 1 if kind == "a perfect seed" else 0)
    assert report.reached == "recompute", reasons(report)
    assert words in reasons(report)


@pytest.fixture(scope="module")
def trained_again(honest, case_of):
    """The records of `kd`, seed 0, as submitted and as trained again."""
    case = case_of(honest)
    (entry,) = [e for e in case.submission.done if (e.record.cell.method, e.record.cell.seed) == ("kd", 0)]
    (record,) = _train(case, [case.plans[entry.file]]).records
    return entry.record, record


@pytest.mark.parametrize("kind", RETRAIN)
def test_retrain_refuses_what_reinfer_lets_pass(kind, forger, judge, trained_again):
    words, change = RETRAIN[kind]
    forger.edit(change)
    report = judge(forger.folder)
    assert report.reached == "recompute", reasons(report)
    forged = read_record(forger.path("kd"))
    stated, again = trained_again
    assert (forged.digests, forged.cost) == (stated.digests, stated.cost), "nothing that reinfer looks at"
    assert not list(compare(stated, again, 0.0))
    assert words in "".join(compare(forged, again, 0.0))


def test_a_copy_of_the_board_is_refused(honest, forger, judge, root):
    """The predictions of another entry, under the name of a method of one's own."""
    own = [r for r in read_records(honest / "records")[0] if r.cell.method == "early_fusion"]
    forger.predict(forger.logits("early_fusion", 1) * 2 + 1, "kd", 0)
    shutil.rmtree(forger.folder / "records" / "nothing", ignore_errors=True)
    report = judge(forger.folder, own=own)
    assert "its errors are those of early_fusion, seed 1 on the board" in reasons(report)


def test_files_outside_of_the_folder_are_refused(honest, judge, tmp_path):
    import subprocess

    def git(*words: str) -> None:
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=tmp_path, check=True)

    git("init", "-q", "-b", "main")
    (tmp_path / "README").write_text("1")
    git("add", "-A")
    git("commit", "-qm", "first")
    shutil.copytree(honest, tmp_path / "submissions" / honest.name)
    folder = tmp_path / "submissions" / honest.name
    git("add", "-A")
    git("commit", "-qm", "second")
    assert judge(folder, base="HEAD~1").verdict == "passed"
    (tmp_path / "README").write_text("2")
    git("commit", "-qam", "third")
    assert "README: is changed, too" in reasons(judge(folder, base="HEAD~2"))


def test_the_docs_list_every_kind_with_its_level():
    rows = dict(re.findall(r"^\| (.+?) \| (recompute|reinfer|retrain) \|", TABLE, re.MULTILINE))
    for level, kinds in (("recompute", RECOMPUTE), ("reinfer", REINFER), ("retrain", RETRAIN)):
        for kind in kinds:
            assert rows.get(kind) == level, f"docs/publishing.md: {kind} is found at level {level}"


def test_the_seed_is_drawn_by_nonce_and_records(honest, forger, root):
    case = Case(read_submission(honest), root / "data", nonce="a")
    assert drawn(case) == drawn(Case(read_submission(honest), root / "data", nonce="a"))
    seeds = {drawn(Case(read_submission(honest), root / "data", nonce=str(n))) for n in range(20)}
    assert seeds == {0, 1}
