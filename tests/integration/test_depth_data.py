"""Data sets with depth, infrared or sensors, from files in official layouts to a record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pmbench_antispoofing.miniature import write_surf
from pmbench_apg.miniature import write_apg
from pmbench_multiview.miniature import write_nwucla

MINI = (Path(__file__).parent / "mini_depth.py").read_text(encoding="utf-8")

CASES = {
    "casia-surf-mini": (write_surf, {"size": 36, "people": (8, 3, 4)}, "target_only"),
    "nw-ucla-mini": (write_nwucla, {"actions": (1, 2, 3)}, "hoffman"),
    "apg": (write_apg, {}, "cgan"),
}
"""Data set -> writer of its miniature, arguments, and a method."""


@pytest.fixture(scope="module")
def workspace(new_workspace: Any) -> Any:
    space = new_workspace("depth")
    space.install("pmbench-mini-depth", MINI)
    return space


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param("casia-surf-mini", marks=pytest.mark.science), "nw-ucla-mini", "apg"]
)
def test_from_files_to_a_record(name: str, workspace: Any, tmp_path: Path) -> None:
    write, arguments, method = CASES[name]
    done = workspace.run_cli("data", "prepare", name, "--source", write(tmp_path, **arguments))
    assert done.code == 0, done.stderr
    run = ("run", "-m", method, "-d", name, "--seed", "0", "--no-references", "--device", "cpu", "--json")
    (record,) = workspace.run_cli(*run, "--workers", "1", "--set", "recipe.epochs=2").json()["records"]
    assert (record["status"], record["sealed"]) == ("done", True), record["reason"]
    assert record["cell"]["test_modalities"] == ["image" if name == "apg" else "rgb"]
    if "casia" in name:
        metrics = record["metrics"]
        assert record["primary"] == "acer"
        assert metrics["acer"] == pytest.approx((metrics["apcer"] + metrics["bpcer"]) / 2)
        assert metrics["acer_worst"] >= metrics["acer"] - 1e-9
        assert {"hter", "acer_mmh", "tpr@fpr=1e-2", "tpr@fpr=1e-4"} <= metrics.keys()
    if name == "apg":
        assert {"accuracy", "f1"} <= record["metrics"].keys()
