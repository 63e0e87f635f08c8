"""The plugins that listen, in a real run: their processes may write into their own folders alone."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

PLUGINS = Path(__file__).parents[2] / "plugins"
LISTENERS = [n for n in ("mlflow", "tensorboard", "wandb") if importlib.util.find_spec(n) is not None]
RUN = ("-m", "kd", "-d", "planted", "--seed", "0", "--no-references", "--set", "recipe.epochs=2")


def needs(name: str) -> pytest.MarkDecorator:
    reason = f"{name} is not installed (extra `{name}`)"
    return pytest.mark.skipif(name not in LISTENERS, reason=reason)


@pytest.fixture(scope="module")
def heard(new_workspace: Any) -> tuple[Path, dict[str, Any]]:
    """(folder of the listeners, record) of a run of two stages, to which all of them listened."""
    chosen = ",".join(["pmbench-kd", *(f"pmbench-{name}" for name in LISTENERS)])
    workspace = new_workspace("listened")
    workspace = replace(workspace, environment=workspace.environment | {"PMBENCH_PLUGINS": chosen})
    for name in LISTENERS:
        source = PLUGINS / f"pmbench-{name}" / "src" / f"pmbench_{name}" / "__init__.py"
        workspace.install(f"pmbench-{name}", source.read_text(encoding="utf-8"))
    done = workspace.run_cli("run", *RUN, "--workers", "1", "--device", "cpu")
    assert done.code == 0, done.stderr
    assert "Warning: pmbench-" not in done.stderr
    (path,) = (workspace.out / "records").rglob("*.json")
    return workspace.out / "listeners", json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.slow
@needs("tensorboard")
def test_tensorboard_shows_both_stages_and_the_cell(heard: tuple[Path, dict[str, Any]]) -> None:
    from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

    folder, record = heard
    found = EventMultiplexer().AddRunsFromDirectory(str(folder / "pmbench-tensorboard"))
    found.Reload()
    runs = sorted(found.Runs())
    assert [run.partition("/")[0] for run in runs] == ["cells", "stages", "stages"]
    for run in runs:
        curve = [(event.step, event.value) for event in found.Scalars(run, "validation/accuracy")]
        assert [step for step, _ in curve] == [1, 2]
        if "Distill" in run or run.startswith("cells"):
            assert [value for _, value in curve] == pytest.approx(record["validation"]["curve"])


@pytest.mark.slow
@needs("mlflow")
def test_mlflow_has_both_stages_and_the_cell(heard: tuple[Path, dict[str, Any]]) -> None:
    from mlflow import MlflowClient

    folder, record = heard
    client = MlflowClient(f"sqlite:///{folder / 'pmbench-mlflow' / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("pmbench").experiment_id])
    assert sorted(run.data.tags["pmbench.kind"] for run in runs) == ["cell", "stage", "stage"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    (cell,) = [run for run in runs if run.data.tags["pmbench.kind"] == "cell"]
    assert cell.data.metrics["test/accuracy"] == record["metrics"]["accuracy"]
    stages = {run.data.tags["pmbench.stage"] for run in runs if run is not cell}
    assert stages == {stage["key"] for stage in record["stages"]}


@pytest.mark.slow
@needs("wandb")
def test_wandb_has_a_finished_run_of_the_cell(heard: tuple[Path, dict[str, Any]]) -> None:
    folder, record = heard
    (run,) = (folder / "pmbench-wandb").rglob("run-*.wandb")
    content = run.read_bytes()
    assert b"kd planted shared-10 seed 0" in content
    assert b"validation/accuracy" in content
    assert b"test/accuracy" in content
    assert str(record["metrics"]["accuracy"]).encode() in content
