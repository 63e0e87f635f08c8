"""Speed of commands: two workers and one, five methods in one run and in five, start-up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

METHODS = ("kd", "gen_distill", "pseudo_label", "hoffman", "self_train")


def pmbench(*arguments: str) -> tuple[float, str]:
    """Wall seconds and standard output of a command; bytecode is cached as in a normal installation."""
    environment = {n: v for n, v in os.environ.items() if n != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-m", "pmbench", *arguments]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return time.perf_counter() - started, done.stdout


def run(root: Path, data: Path, *arguments: str) -> tuple[float, dict[str, Any]]:
    seconds, out = pmbench(
        "run",
        "--dataset",
        "hapt",
        "--store",
        str(root / "store"),
        "--out",
        str(root / "out"),
        "--data",
        str(data),
        "--json",
        *arguments,
    )
    return seconds, json.loads(out)


def test_speedup_of_two_workers(data: Path, tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    arguments = ("--method", "target_only", "--no-references", "--seeds", "8", "--backbone", "cnn1d-16")
    seconds = {n: run(tmp_path / str(n), data, *arguments, "--workers", str(n))[0] for n in (1, 2)}
    ratio = seconds[1] / seconds[2]
    benchmark.extra_info |= {"ratio": round(ratio, 3), "seconds": seconds}
    benchmark.pedantic(lambda: None, rounds=1)
    print(
        f"\n8 seeds of target_only: one worker {seconds[1]:.0f} s, two {seconds[2]:.0f} s, ratio {ratio:.2f}"
    )
    assert ratio >= 1.7


def test_five_methods_in_one_run_share_stages(
    data: Path, tmp_path: Path, benchmark: BenchmarkFixture
) -> None:
    joint_seconds, joint = run(tmp_path / "all", data, "--method", ",".join(METHODS), "--seeds", "1")
    total, stages = 0.0, 0
    for method in METHODS:
        seconds, single = run(tmp_path / method, data, "--method", method, "--seeds", "1")
        total += seconds
        stages += single["trained"]
    ratio = joint_seconds / total
    benchmark.extra_info |= {"ratio": round(ratio, 3), "stages": [joint["trained"], stages]}
    benchmark.pedantic(lambda: None, rounds=1)
    print(
        f"\nfive methods: in one run {joint_seconds:.0f} s and {joint['trained']} stages, "
        f"in five runs with empty stores {total:.0f} s and {stages} stages, ratio {ratio:.2f}"
    )
    assert joint["trained"] < stages


@pytest.mark.parametrize("command", ["--help", "list", "leaderboard"])
def test_start_up(command: str, tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    arguments = [command] + (
        ["--records", str(tmp_path), "--out", str(tmp_path / "b.md")] if command == "leaderboard" else []
    )
    pmbench(*arguments)
    benchmark.pedantic(lambda: pmbench(*arguments), rounds=7)
    assert benchmark.stats.stats.median < 0.4
