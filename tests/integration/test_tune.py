"""`pmbench tune`: as many trials for every method, without test data, and rows of their own in a run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pmbench.report.cell import CellInfo
from pmbench.report.rows import label_of

TUNE = (
    *(
        "tune",
        "-m",
        "kd,self_distill,target_only",
        "-d",
        "planted",
        "--trials",
        "3",
        "--set",
        "recipe.epochs=1",
    ),
    *("--confirm-seed", "101", "--workers", "1", "--device", "cpu"),
)


def lines(folder: Path) -> list[dict[str, Any]]:
    path = folder / "trials.jsonl"
    return (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    )


def interrupted(workspace: Any, folder: Path) -> int:
    """The exit code of a study that is interrupted when its first trials have ended."""
    command = [sys.executable, "-m", "pmbench", *TUNE, "--out", str(folder)]
    places = {"PMBENCH_STORE": str(workspace.store), "PMBENCH_DATA": str(workspace.data)}
    environment = {**os.environ, **workspace.environment, **places}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, start_new_session=True)
    end = time.monotonic() + 200
    while not lines(folder) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert b"Run the same command to resume" in said, said
    return process.returncode


@pytest.mark.slow
def test_a_study_is_resumed_and_its_values_run_beside_the_defaults(workspace: Any) -> None:
    assert workspace.run_cli("data", "prepare", "planted").code == 0
    kept = [p for part in workspace.data.rglob("shared-10-test") for p in part.glob("*.npy")]
    assert len(kept) == 3  # two modalities and the labels
    for path in kept:
        path.rename(path.with_suffix(".away"))
    first, second = workspace.root / "first", workspace.root / "second"
    assert interrupted(workspace, first) == 130
    begun = lines(first)
    assert 0 < len(begun) < 6, "it was interrupted before its end"
    refused = workspace.run_cli("run", "--tuned", first)
    assert (refused.code, "a study that has not finished" in refused.error) == (2, True)

    found = workspace.run_cli(*TUNE, "--out", first, "--json").json()
    assert (found["name"], found["trials"], found["seeds"], found["confirming"]) == ("first", 3, [100], [101])
    assert found["skipped"] == {"target_only": "it declares no search space"}
    ledger = [line for line in lines(first) if line["kind"] == "search"]
    assert all(line in ledger for line in begun), "finished trials are kept"
    assert [(t["method"], t["number"]) for t in ledger] == [
        (m, n) for m in ("kd", "self_distill") for n in range(3)
    ]
    assert all(t["values"] == {"temperature": 4.0, "imitation": 0.9} for t in ledger if t["number"] == 0)
    assert all(25 < t["score"] < 100 and t["seconds"] > 0 for t in ledger)
    assert len({t["stages"][0][0] for t in ledger if t["method"] == "kd"}) == 1, "one teacher for all trials"
    for label, one in found["methods"].items():
        scores = [t["score"] for t in ledger if t["method"] == label]
        assert one["best"] == [max(scores[: n + 1]) for n in range(3)]
        assert scores[one["trial"]] == max(scores)
        assert all(25 < score < 100 for score in one["confirmed"])
    assert "| `kd` |" in (first / "summary.md").read_text(encoding="utf-8")

    # the same study without an interruption, whose stages are stored, has the same trials
    undisturbed = workspace.run_cli(*TUNE, "--out", second)
    assert "to train" not in undisturbed.stderr
    assert (second / "trials.jsonl").read_bytes() == (first / "trials.jsonl").read_bytes()
    other = workspace.run_cli(*TUNE, "--trials", "4", "--out", first)
    assert (other.code, "--trials 3, now 4" in other.error) == (2, True)

    for path in kept:
        path.with_suffix(".away").rename(path)
    run = ("run", "--tuned", first, "-m", "kd", "--seed", "0", "--set", "recipe.epochs=1", "--no-references")
    done = workspace.run_cli(*run, "--workers", "1", "--device", "cpu", "--json").json()
    default, tuned = (record["cell"] for record in done["records"])
    assert "study" not in default
    assert (tuned["study"]["name"], tuned["study"]["trials"]) == ("first", 3)
    assert tuned["study"]["best"] == found["methods"]["kd"]["best"]
    page = (workspace.out / "tables" / "planted-shared-10.md").read_text(encoding="utf-8")
    label = label_of(CellInfo(**tuned))
    assert label.endswith(" (tuned, 3 trials)")
    assert all(page.count(f"| [`{name}`][kd]") == 1 for name in ("kd", label))
    assert "## Tuned rows" in page


def test_studies_that_cannot_be_are_refused(workspace: Any) -> None:
    for args, said in (
        (("-m", "kd"), "no folder for the study"),
        (("--out", "s"), "no method to tune"),
        (("-m", "hofman", "--out", "s"), "unknown method 'hofman'; did you mean 'hoffman'?"),
        (("-m", "kd", "-p", "shared-11", "-d", "planted", "--out", "s"), "unknown protocol"),
        (("-m", "kd", "-d", "hapt,planted", "--out", "s"), "a study has one dataset"),
    ):
        done = workspace.run_cli("tune", *args)
        assert done.code == 2
        assert said in done.error
    nothing = workspace.run_cli("tune", "-m", "target_only,late_fusion", "-d", "planted", "--out", "s")
    assert nothing.code == 3
    assert "no method can be tuned: target_only, late_fusion: it declares no search space" in nothing.error
