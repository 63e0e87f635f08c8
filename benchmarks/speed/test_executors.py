"""Overhead of each stage: two workers here, two joined commands, two CPUs of a Ray cluster.

`uv run --extra ray pytest benchmarks/speed/test_executors.py -s`
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from measuring import shortest
from pytest_benchmark.fixture import BenchmarkFixture

STAGES = 24
"""Each one epoch of a network of two layers on 200 samples: some 0.1 s of training."""


@contextmanager
def nothing() -> Iterator[tuple[str, ...]]:
    yield ()


@contextmanager
def cluster() -> Iterator[tuple[str, ...]]:
    """A Ray cluster of one node with two CPUs on this machine."""
    pytest.importorskip("ray")
    ray, port = [sys.executable, "-m", "ray.scripts.scripts"], "6399"
    start = ["start", "--head", "--port", port, "--num-cpus", "2", "--include-dashboard", "false"]
    subprocess.run([*ray, *start], check=True, capture_output=True)
    try:
        yield "--executor", "ray", "--address", f"127.0.0.1:{port}"
    finally:
        subprocess.run([*ray, "stop", "--force"], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("way", "commands", "options"),
    [
        ("two workers", 1, ("--workers", "2")),
        ("two joined commands", 2, ("--join", "--workers", "1")),
        ("Ray, two CPUs", 1, ("--workers", "2")),
    ],
)
def test_overhead_of_a_stage(
    way: str, commands: int, options: tuple[str, ...], data: Path, tmp_path: Path, benchmark: BenchmarkFixture
) -> None:
    arguments = ["run", "-m", "target_only", "-d", "planted", "--no-references", "--seeds", str(STAGES)]
    arguments += ["--set", "recipe.epochs=1", "--device", "cpu", "--data", str(data), "--json", *options]
    environment = {n: v for n, v in os.environ.items() if n != "PYTHONDONTWRITEBYTECODE"}
    trained: list[int] = []

    def run(folder: Path, executor: tuple[str, ...]) -> None:
        places = ["--store", str(folder / "store"), "--out", str(folder / "out")]
        command = [sys.executable, "-m", "pmbench", *arguments, *executor, *places]
        started = [
            subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
            for _ in range(commands)
        ]
        trained[:] = [json.loads(process.communicate()[0])["trained"] for process in started]

    with cluster() if way.startswith("Ray") else nothing() as executor:
        run(tmp_path / "warm", executor)
        shutil.rmtree(tmp_path / "warm")
        benchmark.pedantic(run, (tmp_path / "timed", executor), rounds=1)
    assert sum(trained) == STAGES
    seconds = shortest(benchmark)
    benchmark.extra_info["seconds a stage"] = round(seconds / STAGES, 3)
    print(f"\n{way}: {STAGES} stages in {seconds:.1f} s, {seconds / STAGES:.2f} s a stage")
