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
from measuring import shortest
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


@pytest.fixture(scope="module")
def seconds() -> dict[tuple[object, ...], float]:
    """Seconds of the runs so far, by what was run."""
    return {}


@pytest.mark.parametrize(
    ("channels", "seeds", "workers", "least"),
    [(16, 8, 1, None), (16, 8, 2, 1.8), (8, 12, 1, None), (8, 12, 2, 1.65)],
)
def test_two_workers_against_one(
    channels: int,
    seeds: int,
    workers: int,
    least: float | None,
    data: Path,
    tmp_path: Path,
    seconds: dict[tuple[object, ...], float],
    benchmark: BenchmarkFixture,
) -> None:
    arguments = ["--method", "target_only", "--no-references", "--seeds", str(seeds)]
    arguments += ["--backbone", f"cnn1d-{channels}", "--workers", str(workers)]
    benchmark.pedantic(run, (tmp_path, data, *arguments), rounds=1)
    seconds[channels, workers] = shortest(benchmark)
    if least is not None:
        one, two = seconds[channels, 1], seconds[channels, 2]
        benchmark.extra_info["ratio"] = round(one / two, 3)
        print(f"\n{seeds} seeds, {channels} channels: {one:.1f} s / {two:.1f} s = {one / two:.2f}")
        assert one / two >= least


@pytest.mark.parametrize("workers", [0, 1])
def test_isolation_of_the_main_job(
    workers: int,
    data: Path,
    tmp_path: Path,
    seconds: dict[tuple[object, ...], float],
    benchmark: BenchmarkFixture,
) -> None:
    """One seed of `pmbench run --method hoffman`, in this process and in isolated ones."""
    arguments = ("--method", "hoffman", "--seeds", "1", "--workers", str(workers))
    benchmark.pedantic(run, (tmp_path, data, *arguments), rounds=1)
    seconds["main job", workers] = shortest(benchmark)
    if workers:
        isolated, plain = seconds["main job", 1], seconds["main job", 0]
        benchmark.extra_info["ratio"] = round(isolated / plain, 3)
        print(f"\nmain job, one seed: {isolated:.1f} s isolated, {plain:.1f} s in one process")
        assert isolated / plain <= 1.03


def test_main_job_against_its_training(data: Path, tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    """`pmbench run --method hoffman`: its time against that of all stages, divided by two cores."""
    found: list[tuple[float, dict[str, Any]]] = []
    benchmark.pedantic(
        lambda: found.append(run(tmp_path, data, "--method", "hoffman", "--workers", "2")), rounds=1
    )
    stages = {s["key"]: s["seconds"] for r in found[0][1]["records"] for s in r["stages"]}
    training = sum(stages.values())
    ratio = found[0][0] / (training / 2)
    benchmark.extra_info |= {"ratio": round(ratio, 3), "training": round(training, 1)}
    print(f"\nmain job: {found[0][0]:.0f} s; its {len(stages)} stages {training:.0f} s, ratio {ratio:.2f}")
    assert ratio <= 1.2


def test_five_methods_in_one_run(
    data: Path, tmp_path: Path, seconds: dict[tuple[object, ...], float], benchmark: BenchmarkFixture
) -> None:
    benchmark.pedantic(run, (tmp_path, data, "--method", ",".join(METHODS), "--seeds", "1"), rounds=1)
    seconds["together",] = shortest(benchmark)


def test_five_methods_in_five_runs(
    data: Path, tmp_path: Path, seconds: dict[tuple[object, ...], float], benchmark: BenchmarkFixture
) -> None:
    """With an empty store each, so that no stage is shared."""

    def apart() -> None:
        for method in METHODS:
            run(tmp_path / method, data, "--method", method, "--seeds", "1")

    benchmark.pedantic(apart, rounds=1)
    ratio = seconds["together",] / shortest(benchmark)
    benchmark.extra_info["ratio"] = round(ratio, 3)
    print(f"\nfive methods: {seconds['together',]:.0f} s together, ratio {ratio:.2f}")
    assert ratio <= 1 / 3


@pytest.mark.parametrize("command", ["--help", "list", "leaderboard"])
def test_start_up(command: str, tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    arguments = [command] + (
        ["--records", str(tmp_path), "--out", str(tmp_path / "b.md")] if command == "leaderboard" else []
    )
    pmbench(*arguments)
    benchmark.pedantic(lambda: pmbench(*arguments), rounds=7)
    assert shortest(benchmark) < 0.4
