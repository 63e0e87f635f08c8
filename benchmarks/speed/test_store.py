"""Speed of `pmbench store list` with many stages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import many_stages  # type: ignore[import-not-found]
import pytest
from measuring import shortest
from pytest_benchmark.fixture import BenchmarkFixture

from pmbench.store.listing import read_listing


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100,000 stages, the index of which is up to date."""
    root = tmp_path_factory.mktemp("store")
    many_stages.write(root, 100_000)
    for path in [*root.glob("??"), *root.glob("??/*")]:
        os.utime(path, (1.7e9, 1.7e9))
    read_listing(root)
    return root


@pytest.mark.parametrize("form", ["", "--json"])
def test_list_100_000_stages(store: Path, form: str, benchmark: BenchmarkFixture) -> None:
    command = [sys.executable, "-m", "pmbench", "store", "list", "--store", str(store)] + [form] * bool(form)
    environment = {n: v for n, v in os.environ.items() if n != "PYTHONDONTWRITEBYTECODE"}

    def listed() -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout

    assert listed().count("train, 10 labels a class") == 100_000
    benchmark.pedantic(listed, rounds=5)
    assert shortest(benchmark) < 2.0
