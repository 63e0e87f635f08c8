"""A user's own folder from the command line: prepared by name, listed, run, and on the board."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow  # real runs


def write(folder: Path) -> Path:
    """A noisy sequence, and a vector that separates the classes and is missing in four test samples."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    rows = []
    for i in range(120):
        label = i % 3
        np.save(folder / f"imu{i}.npy", (rng.normal(0, 2, (3, 32)) + label).astype(np.float32))
        np.save(folder / f"state{i}.npy", (rng.normal(0, 0.3, 8) + label).astype(np.float32))
        rows.append(
            {
                "id": f"s{i}",
                "label": "abc"[label],
                "split": "test" if i >= 80 else "train",
                "group": f"g{i // 6}",
                "imu": f"imu{i}.npy",
                "state": "" if i % 10 == 0 else f"state{i}.npy",
            }
        )
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def test_a_local_folder_from_preparation_to_board(run_cli: Any, tmp_path: Path) -> None:
    source = write(tmp_path / "kitchen")
    nameless = run_cli("data", "prepare", "local", "--source", str(source))
    assert nameless.code == 2
    assert "local/<name>" in nameless.stderr
    prepared = run_cli("data", "prepare", "local/kitchen", "--source", str(source))
    assert prepared.code == 0
    assert "12 of 120 samples lack 'state'" in prepared.stdout
    assert "'imu'" not in prepared.stdout
    listed = {d["name"]: d for d in run_cli("data", "list", "--json").json()}
    assert listed["local/kitchen"]["samples"] == {"train": 80, "test": 40}
    out = tmp_path / "out"
    done = run_cli(
        "run", "--method", "kd,early_fusion", "--dataset", "local/kitchen", "--seed", "0", "--no-references",
        "--set", "recipe.epochs=2", "--workers", "0", "--out", str(out), "--json",
    )  # fmt: skip
    assert done.code == 0, done.stderr
    found = {r["cell"]["method"]: r for r in done.json()["records"]}
    assert found["kd"]["status"] == "done"
    assert found["kd"]["cell"]["dataset"] == "local/kitchen"
    assert found["early_fusion"]["status"] == "skipped"
    assert found["early_fusion"]["reason"] == "4 test samples lack 'state'"
    assert "local/kitchen" in (out / "LEADERBOARD.md").read_text()
