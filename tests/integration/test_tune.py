"""`benchmarks/tune.py`: as many trials for every method, scored without test data."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "tune.py"


@pytest.mark.slow
@pytest.mark.science
def test_every_method_gets_as_many_trials_and_test_data_is_never_opened(workspace: Any) -> None:
    assert workspace.run_cli("data", "prepare", "planted").code == 0
    removed = [p for part in workspace.data.rglob("shared-10-test") for p in part.glob("*.npy")]
    assert len(removed) == 3  # two modalities and the labels
    for path in removed:
        path.unlink()
    args = ["--dataset", "planted", "--protocol", "shared-10", "--trials", "2", "--epochs", "1"]
    args += ["--seed", "100", "--confirm", "101"]
    places = ["--store", workspace.store, "--data", workspace.data, "--out", workspace.root / "trials.json"]
    # the last stage of admd trains nothing, so that no epoch of it was scored
    done = workspace.run_cli("--method", "kd", "admd", *args, *places, program=(sys.executable, str(SCRIPT)))
    assert done.code == 0, done.stderr
    found = json.loads((workspace.root / "trials.json").read_text(encoding="utf-8"))
    assert found["seed"] == [100]
    assert [t["method"] for t in found["trials"]] == ["kd", "kd", "admd", "admd"]
    assert [t["options"] == {} for t in found["trials"]] == [True, False, True, False]
    assert all(25 < score < 100 for t in found["trials"] for score in t["scores"])
    assert all(len(t["confirmed"]) == 1 for t in found["trials"])
    assert "| `admd` |" in done.stdout
