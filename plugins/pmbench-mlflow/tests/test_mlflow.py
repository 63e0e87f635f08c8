"""What MLflow's client reads from the store that the hooks wrote."""

from __future__ import annotations

import pytest

pytest.importorskip("mlflow", reason="mlflow is not installed (extra `mlflow`)")

import mlflow
import pmbench_mlflow
from listening import epochs_of, record_of


@pytest.fixture(scope="module")
def record():
    return record_of("mers")


@pytest.fixture(scope="module")
def failed(record):
    """A cell that failed in the second epoch of its last stage."""
    cell = record.cell.model_copy(update={"seed": 1})
    closed = {"reason": "term 'ce' is nan", "metrics": {}, "validation": None, "stages": [], "cell": cell}
    return record.model_copy(update={**closed, "status": "failed"})


@pytest.fixture(scope="module")
def runs(tmp_path_factory, record, failed):
    """kind and status -> the run, after a cell with its stage, a skipped cell and a failed one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("mlflow"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for event in epochs_of(record):
            pmbench_mlflow.pmbench_epoch_finished(event)
        pmbench_mlflow.pmbench_run_finished(record)
        pmbench_mlflow.pmbench_run_finished(record.model_copy(update={"status": "skipped"}))
        other = record.model_copy(update={"cell": failed.cell, "stages": record.stages[:-1]})
        pmbench_mlflow.pmbench_epoch_finished(epochs_of(other)[0])
        pmbench_mlflow.pmbench_run_finished(failed)
        client = mlflow.MlflowClient()
        experiment = client.get_experiment_by_name("pmbench")
        found = client.search_runs([experiment.experiment_id])
        yield {(run.data.tags["pmbench.kind"], run.info.status): run for run in found}
        assert len(found) == 4


def history(run, key: str) -> list[tuple[int, float]]:
    return [(m.step, m.value) for m in mlflow.MlflowClient().get_metric_history(run.info.run_id, key)]


def test_a_stage_has_its_curves(runs, record):
    run = runs["stage", "FINISHED"]
    assert run.data.tags["pmbench.stage"] == record.stages[-1].key
    assert run.data.params["stage"] == record.stages[-1].stage
    for name, values in record.validation.terms.items():
        assert history(run, f"terms/{name}") == list(enumerate(values, 1))
    assert history(run, "validation/accuracy") == list(enumerate(record.validation.curve, 1))


def test_a_cell_has_its_parameters_results_and_curves(runs, record):
    run = runs["cell", "FINISHED"]
    assert run.info.run_name == "mers mfeat few-10 seed 0"
    assert run.data.params == {name: str(value) for name, value in record.cell.parameters.items()}
    assert run.data.metrics["test/accuracy"] == record.metrics["accuracy"]
    assert history(run, "validation/accuracy") == list(enumerate(record.validation.curve, 1))


def test_a_failed_cell_has_its_reason_and_ends_its_stage(runs):
    assert runs["cell", "FAILED"].data.tags["pmbench.reason"] == "term 'ce' is nan"
    assert [step for step, _ in history(runs["stage", "FAILED"], "validation/accuracy")] == [1]
