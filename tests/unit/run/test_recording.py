"""Records of cells: planted data, real stages, real predictions."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from pmbench.data.prepared import Prepared
from pmbench.files import file_digest
from pmbench.plugins import load_plugins
from pmbench.report.boards import boards
from pmbench.run.coordinator import Runner
from pmbench.run.executors.inline import Inline
from pmbench.run.joining import Writer
from pmbench.run.plan import make_plan
from pmbench.run.provenance import provenance, without_folders
from pmbench.run.recording import Recorder, _audit, is_flat
from pmbench.run.request import Request
from pmbench.run.worker import Resources
from pmbench.store.store import Store


class Silent:
    """A watcher that keeps the order of events."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def begin(self, stages, cells):
        self.events.append(f"begin {stages} {cells}")

    def started(self, stage):
        self.events.append("started")

    def waiting(self, stage):
        pass

    def epoch(self, key, done, total):
        pass

    def trained(self, stage, seconds, hit):
        self.events.append("trained")

    def failed(self, stage, reason):
        self.events.append(f"failed {reason}")

    def cell(self, record, reused):
        self.events.append(f"{record.cell.method} {record.status}{' reused' * reused}")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("run")


def run(root: Path, *methods: str, sets=("recipe.epochs=1",), protocols=(), out="out", join=False, **fields):
    """(plan, outcome, events) of a run in this process."""
    registry, resources = load_plugins(), Resources(root / "store", root / "data")
    request = Request(
        methods, ("planted",), tuple(protocols), seeds=(0,), sets=sets, references=False, **fields
    )
    plan = make_plan(request, registry, resources.data, Store(resources.store))
    recorder = Recorder(
        lambda precision: provenance(registry, "cpu", 1, "none", ("run",), precision), registry.published
    )
    watcher = Silent()
    runner = Runner(plan, registry, resources, root / out, 0, recorder, watcher, Inline, join=join)
    return plan, runner.execute(), watcher.events


@pytest.fixture(scope="module")
def finished(root):
    return run(root, "target_only", "kd")


def test_a_record_holds_what_was_trained_and_measured(root, finished):
    plan, outcome, _ = finished
    for cell, record in zip(plan.cells, outcome.records, strict=True):
        predictions = root / "out" / "predictions" / cell.path.with_name(cell.path.name + ".parquet")
        assert (record.status, record.sealed, record.cell_key) == ("done", True, cell.identity)
        assert record.stages[-1].key == cell.key
        assert {s.key for s in record.stages} == set(cell.keys)
        assert record.digests.predictions == file_digest(predictions)
        assert record.digests.program == file_digest(Store(root / "store").program(cell.key, cell.inputs))
        assert record.cost.parameters > 0
        assert record.cost.train_seconds == pytest.approx(sum(s.seconds for s in record.stages))
        assert record.samples.count == len(plan.prepared["planted"].labels(cell.context.protocol.split.test))
        assert record.samples.groups is None, "planted samples are independent"
        assert len(record.validation.curve) == 1
        assert record.validation.terms.keys() == (
            {"ce"} if record.cell.method == "target_only" else {"ce", "soft"}
        )
        assert all(len(values) == 1 and values[0] > 0 for values in record.validation.terms.values())
        assert record.cell.recipe_set.endswith("epochs=1")


def test_of_joined_runs_the_one_that_does_not_write_leaves_cells_to_the_other(root, finished):
    plan, alone, _ = finished
    out = root / "joined"
    out.mkdir()
    writer = Writer(out, {cell.identity for cell in plan.cells})
    assert writer.claim()
    _, outcome, _ = run(root, "target_only", "kd", out="joined", join=True)
    assert (outcome.left, outcome.records) == (2, [])
    assert not list(out.rglob("*.json")) + list(out.rglob("*.parquet"))

    writer.release()  # as when it is killed
    _, outcome, _ = run(root, "target_only", "kd", out="joined", join=True)
    assert (outcome.trained, outcome.left) == (0, 0)
    assert [r.metrics for r in outcome.records] == [r.metrics for r in alone.records]
    assert Writer(out, {cell.identity for cell in plan.cells}).claim(), "a run that has ended does not write"


@pytest.mark.parametrize("select", ["best", "last"])
def test_the_audit_holds_what_other_epochs_would_have_given(root, select):
    sets = ("recipe.epochs=4", "recipe.lr=0.01", f"recipe.select={select}")
    _, outcome, _ = run(root, "target_only", "late_fusion", sets=sets)
    record, fused = outcome.records
    result, audit, curve = record.metrics["accuracy"], record.audit, record.validation.curve
    assert {"best": audit.validation, "last": audit.last}[select] == result
    assert audit.test >= max(audit.last, audit.validation)
    assert (audit.last == audit.validation) or curve[-1] < max(curve)
    assert fused.audit is None, "no epochs"
    left = (root / "out" / "predictions").rglob("*epoch-*")
    assert not list(left), "predictions of epochs are removed"


def test_the_audit_takes_the_later_of_two_equal_epochs():
    found = _audit([50.0, 60.0, 40.0], [70.0, 70.0, 10.0], True)
    assert (found.last, found.validation, found.test, found.test_epoch) == (40.0, 60.0, 60.0, 2)
    found = _audit([50.0, 60.0, 40.0], [20.0, 70.0, 30.0], False)
    assert (found.last, found.validation, found.test, found.test_epoch) == (40.0, 50.0, 40.0, 3)
    assert _audit([50.0], [], True).validation is None
    assert _audit([], [], True) is None


def test_groups_of_the_test_part_are_recorded(root, finished, monkeypatch):
    plan, _, _ = finished
    test, index = plan.cells[0].context.protocol.split.test, Prepared.index

    def grouped(self, part):
        ids, groups = index(self, part)
        return ids, [f"subject {i % 7}" for i in range(len(ids))] if part == test else groups

    monkeypatch.setattr(Prepared, "index", grouped)
    (root / "out" / "records").rename(root / "out" / "kept")
    try:
        _, outcome, _ = run(root, "target_only")
    finally:
        shutil.rmtree(root / "out" / "records")
        (root / "out" / "kept").rename(root / "out" / "records")
    (record,) = outcome.records
    assert record.samples.unpack_groups().tolist() == [i % 7 for i in range(record.samples.count)]


def test_a_second_run_keeps_the_records(root, finished):
    _, outcome, events = run(root, "target_only", "kd")
    assert (outcome.trained, outcome.reused) == (0, 2)
    assert events == ["begin 0 2", "target_only done reused", "kd done reused"]
    assert outcome.records == finished[1].records


def test_stages_of_other_runs_are_marked_as_reused(root, finished):
    _, outcome, events = run(root, "early_fusion")
    assert (outcome.trained, outcome.reused) == (0, 0)
    (record,) = outcome.records
    assert [s.reused for s in record.stages] == [True]
    assert record.cost.train_seconds_spent == 0 < record.cost.train_seconds
    assert events == ["begin 0 1", "early_fusion done"]


def test_rows_without_privileged_information(root, finished):
    _, outcome, _ = run(root, "kd", placebos=("shuffle",), matched_compute=True)
    kd, shuffled, floor = outcome.records
    assert kd == finished[1].records[1]
    assert [r.cell.placebo for r in outcome.records] == [None, "shuffle", None]
    assert [r.cell.matched_epochs for r in outcome.records] == [None, None, 2]
    assert floor.cost.steps == kd.cost.steps
    assert len({r.cell.recipe_set for r in outcome.records}) == 1
    assert len({r.digests.labels for r in outcome.records}) == 1, "the test part is the same"
    assert len({r.digests.predictions for r in outcome.records}) == 3
    assert {r.cell.teacher for r in (kd, shuffled)} == {"early_fusion"}
    (board,) = boards([*finished[1].records, *outcome.records])
    assert [row.label for row in board.rows if row.competes] == ["kd"], "they take no part in the ranking"
    assert {one.row.label for one in board.left} == {"kd (shuffle placebo)", "target_only (2 epochs)"}
    gain = {one.kind: one.gain.difference for one in board.left}
    base = finished[1].records[0].metrics["accuracy"]
    assert gain["compute"] == pytest.approx(floor.metrics["accuracy"] - base)
    assert gain["shuffle"] == pytest.approx(shuffled.metrics["accuracy"] - base)


def test_changed_predictions_are_evaluated_again(root, finished):
    plan, before, _ = finished
    path = root / "out" / "predictions" / plan.cells[0].path.with_suffix(".parquet")
    path.write_bytes(b"damaged")
    _, after, events = run(root, "target_only")
    assert events == ["begin 0 1", "target_only done"]
    assert after.records[0].digests.predictions == before.records[0].digests.predictions


def test_a_skipped_cell_has_the_reason_and_the_precision_of_its_recipe(tmp_path):
    sets = ("recipe.epochs=1", "recipe.precision=bf16")
    _, outcome, _ = run(tmp_path, "mdms_step3_connected", sets=sets)
    (record,) = outcome.records
    assert record.status == "skipped"
    assert "feature maps" in record.reason
    assert record.provenance.precision == "bf16"
    assert record.digests is None


@pytest.mark.parametrize(
    ("curve", "flat"),
    [
        ([50.0] * 7, None),
        ([50.0] * 8, True),
        ([50.0] * 6 + [50.9] * 2, True),
        ([50.0] * 6 + [51.1] * 2, False),
        ([50.0, 52.0] * 3 + [52.0, 54.0], True),
        (list(np.linspace(10, 90, 20)), False),
        ([90.0] * 6 + [50.0] * 2, True),
    ],
)
def test_a_curve_is_flat_if_its_last_quarter_gains_little(curve, flat):
    assert is_flat(curve) is flat


def test_a_record_names_no_folder_of_the_machine():
    command = [
        "run",
        "--out",
        "/disk/out",
        "-m",
        "kd",
        "--store=/disk",
        "--data",
        "/data",
        "--seeds",
        "3",
    ]
    assert without_folders(command) == ["run", "-m", "kd", "--seeds", "3"]
    assert without_folders(["run", "--out"]) == ["run"]
