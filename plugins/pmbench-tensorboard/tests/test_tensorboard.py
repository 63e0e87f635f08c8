"""What TensorBoard reads from the files that the hooks wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("tensorboard", reason="tensorboard is not installed (extra `tensorboard`)")

from listening import epochs_of, record_of
from pmbench_tensorboard import pmbench_epoch_finished, pmbench_run_finished
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def read(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    found.Reload()
    return found


def curve(found: EventAccumulator, tag: str) -> list[tuple[int, float]]:
    return [(event.step, pytest.approx(event.value, rel=1e-6)) for event in found.Scalars(tag)]


@pytest.fixture(scope="module")
def record():
    return record_of("mers")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_curves_are_there_while_a_stage_trains(folder, record):
    events = epochs_of(record)
    for event in events[:3]:
        pmbench_epoch_finished(event)
    (run,) = {path.parent for path in folder.rglob("*tfevents*")}
    assert run.relative_to(folder).parts[:4] == (
        "stages",
        record.cell.dataset,
        record.cell.protocol,
        "seed-0",
    )
    assert [step for step, _ in curve(read(run), "validation/accuracy")] == [1, 2, 3]
    for event in events[1:]:  # the process died, and went on from the checkpoint of the first epoch
        pmbench_epoch_finished(event)
    found = read(run)
    for name, values in record.validation.terms.items():
        assert curve(found, f"terms/{name}") == list(enumerate(values, 1))
    assert curve(found, "validation/accuracy") == list(enumerate(record.validation.curve, 1))


def test_a_cell_has_its_parameters_results_and_curves(folder, record):
    pmbench_run_finished(record)
    (run,) = {path.parent for path in folder.rglob("*tfevents*")}
    found = read(run)
    assert curve(found, "test/accuracy") == [(0, record.metrics["accuracy"])]
    assert curve(found, "validation/accuracy") == list(enumerate(record.validation.curve, 1))
    start = found.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    hparams = HParamsPluginData.FromString(start).session_start_info.hparams
    assert hparams["method"].string_value == "mers"
    assert hparams["dataset"].string_value == "mfeat"
    assert hparams["seed"].number_value == 0
    assert {f"option.{name}" for name in record.cell.options} <= set(hparams)


def test_skipped_cells_leave_nothing_and_failed_ones_their_reason(folder, record):
    closed = {"reason": "no labels", "metrics": {}, "validation": None, "stages": []}
    pmbench_run_finished(record.model_copy(update={**closed, "status": "skipped"}))
    assert not list(folder.rglob("*tfevents*"))
    pmbench_run_finished(record.model_copy(update={**closed, "status": "failed"}))
    (run,) = {path.parent for path in folder.rglob("*tfevents*")}
    assert b"failed: no labels" in read(run).Tensors("status/text_summary")[0].tensor_proto.string_val
