"""How plan and board grow with the number of cells and records: 10, 100, 1,000, 10,000."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from pmbench.report.record_files import write_record

METHODS: tuple[str, ...] = (
    "target_only",
    "privileged_only",
    "early_fusion",
    "late_fusion",
    "self_distill",
    "target_ensemble",
)
METHODS += ("kd", "gen_distill", "pseudo_label", "hoffman")
ROLES = {"target_only": ("floor", "target"), "early_fusion": ("reference", "all")}
ROLES |= {"privileged_only": ("reference", "all"), "late_fusion": ("reference", "all")}
ROLES |= {"self_distill": ("control", "target"), "target_ensemble": ("reference", "target")}
SEEDS = 10


WATCHED = """
import sys
from pathlib import Path
from pmbench.cli import main
try:
    main()
finally:
    status = Path("/proc/self/status").read_text().partition("VmHWM:")[2]
    print(status.split()[0], file=sys.stderr)
"""


def pmbench(*arguments: str | Path, **variables: str) -> tuple[float, float, str]:
    """Wall seconds, largest memory in MiB and standard output of a command."""
    environment = {n: v for n, v in os.environ.items() if n != "PYTHONDONTWRITEBYTECODE"} | variables
    command = [sys.executable, "-c", WATCHED, *map(str, arguments)]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return time.perf_counter() - started, int(done.stderr.split()[-1]) / 1024, done.stdout


@pytest.mark.parametrize("cells", [10, 100, 1000, 10_000])
def test_plan(cells: int, data: Path, tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    arguments = ("plan", "-m", ",".join(METHODS), "-d", "planted", "--no-references", "--json")
    seeds = str(cells // len(METHODS))
    found: list[tuple[float, float]] = []

    def plan() -> None:
        *used, out = pmbench(*arguments, "--seeds", seeds, "--store", tmp_path / "store", "--data", data)
        assert json.loads(out)["summary"]["cells"] == cells
        found.append((used[0], used[1]))

    benchmark.pedantic(plan, rounds=3, warmup_rounds=1)  # the first keeps what plugins declare
    seconds, memory = min(s for s, _ in found), max(m for _, m in found)
    benchmark.extra_info |= {"seconds": round(seconds, 2), "MiB": round(memory)}
    print(f"\nplan of {cells} cells: {seconds:.2f} s, {memory:.0f} MiB")
    assert seconds < 4
    assert memory < 500


@pytest.mark.parametrize("records", [10, 100, 1000, 10_000])
@pytest.mark.parametrize("state", ["first", "one more record"])
def test_board(
    state: str, records: int, tmp_path_factory: pytest.TempPathFactory, benchmark: BenchmarkFixture
) -> None:
    """The tables of made-up records, read and computed for the first time, and after one more record."""
    folder = tmp_path_factory.getbasetemp() / f"records-{records}"
    cache = tmp_path_factory.getbasetemp() / f"cache-{records}"
    if not folder.exists():
        write_records(folder, records)
    if state != "first":
        write_records(folder, records + 1, start=records)
    found: list[tuple[float, float, str]] = []
    benchmark.pedantic(
        lambda: found.append(
            pmbench("leaderboard", "--records", folder, "--format", "md", XDG_CACHE_HOME=str(cache))
        ),
        rounds=1,
    )
    seconds, memory, _ = found[0]
    benchmark.extra_info |= {"MiB": round(memory)}
    print(f"\nboard of {records} records, {state}: {seconds:.2f} s, {memory:.0f} MiB")
    assert seconds < (10 if state == "first" else 2)


def write_records(folder: Path, count: int, start: int = 0) -> None:
    """Made-up records number `start` to `count`: ten methods under ten seeds on each protocol."""
    path = Path(__file__).parents[2] / "tests" / "unit" / "report" / "conftest.py"
    spec = importlib.util.spec_from_file_location("made_up_records", path)
    assert spec is not None
    assert spec.loader is not None
    made_up = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made_up)
    for number in range(start, count):
        rest, seed = divmod(number, SEEDS)
        board, place = divmod(rest, len(METHODS))
        method, protocol = METHODS[place], f"few-{board + 1}"
        role, tests_on = ROLES.get(method, ("method", "target"))
        record = made_up.record(
            method, seed, 0.6 + 0.02 * place, role=role, tests_on=tests_on, protocol=protocol, count=300
        )
        write_record(record, folder / protocol / f"{method}-s{seed}.json")
