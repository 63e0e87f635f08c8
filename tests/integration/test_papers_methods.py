"""Methods on the data sets of their papers, from files in official layouts to a record: demos, one epoch."""

from __future__ import annotations

from typing import Any

import pytest

ACER = ("acer", "acer_worst", "acer_mmh", "apcer", "bpcer", "hter", "tpr@fpr=1e-2", "tpr@fpr=1e-4")
CLASSES = ("accuracy", "mean_class_accuracy", "macro_f1")
PAIRS: dict[tuple[str, str], tuple[tuple[str, ...], str, tuple[str, ...]]] = {
    ("rad", "hmdb51"): (CLASSES, "rgb", ("flow",)),
    ("rad", "casia-surf"): (ACER, "rgb", ("depth", "ir")),
    ("dad", "casia-cefa"): (ACER, "rgb", ("depth", "ir")),
    ("amid", "activitynet"): ((*CLASSES, "r@1", "r@5"), "rgb", ("audio",)),
    ("amid", "iemocap"): (("wa", "ua"), "visual", ("audio", "text")),
    ("mdms", "nw-ucla"): (CLASSES, "rgb", ("depth",)),
    ("mdms", "uwa3d"): (CLASSES, "rgb", ("depth",)),
    ("admd", "nyud"): (CLASSES, "rgb", ("depth",)),
    ("cgan", "apg"): (("accuracy", "f1"), "image", ("sensors",)),
    ("kd", "utd-mhad"): (CLASSES, "rgb", ("inertial",)),
}
"""(Method, data set) -> metrics of the papers, the primary one first; target; privileged."""


def run_of(method: str, name: str) -> tuple[str, ...]:
    options = ("--set", "recipe.epochs=1", "--workers", "1", "--device", "cpu")
    return ("run", "-m", method, "-d", f"{name}:demo", "--seeds", "1", "--no-references", *options)


@pytest.mark.slow
@pytest.mark.science
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_from_files_to_a_record(pair: tuple[str, str], workspace: Any) -> None:
    (metrics, target, privileged), name = PAIRS[pair], pair[1]
    for command in (("prepare", name, "--demo"), ("verify", f"{name}:demo")):
        done = workspace.run_cli("data", *command)
        assert done.code == 0, done.stderr
    (record,) = workspace.run_cli(*run_of(*pair), "--json").json()["records"]
    assert (record["status"], record["sealed"]) == ("done", True), record["reason"]
    found = record["metrics"]
    assert record["primary"] == metrics[0]
    assert set(metrics) <= found.keys()
    if metrics is ACER:
        assert found["acer"] == pytest.approx((found["apcer"] + found["bpcer"]) / 2)
        assert found["acer_worst"] >= found["acer"] - 1e-9
    cell = record["cell"]
    assert (cell["test_modalities"], cell["privileged"]) == ([target], list(privileged))
    assert record["deviations"][0] == f"demo: made-up samples, not those of {name}"
    records = workspace.out / "records"
    assert workspace.run_cli("leaderboard", "--records", records, "--json").json() == []


@pytest.mark.slow
def test_a_demo_goes_from_files_to_a_table_and_to_no_board(workspace: Any) -> None:
    """SensIT, the quickest; one epoch, so no result."""
    done = workspace.run_cli("data", "prepare", "sensit", "--demo")
    assert done.code == 0, done.stderr
    assert "pmbench run --method kd --dataset sensit:demo" in done.stdout
    assert "prepared already" in workspace.run_cli("data", "prepare", "sensit:demo").stdout
    found = workspace.run_cli(*run_of("kd", "sensit"))
    assert found.code == 0, found.stderr
    assert "sensit:demo, libsvm" in found.stdout
    assert "sensit" not in (workspace.out / "LEADERBOARD.md").read_text(encoding="utf-8")
    stated = ("--handle", "jane", "--contact", "jane@example.org", "--data-terms", "none")
    refused = workspace.run_cli("publish", workspace.out, "--to", "board", *stated)
    assert refused.code == 2
    assert "nothing to publish: sensit:demo (made-up samples)" in refused.error
