"""A machine that lacks space, files or memory, and files that vanish: equal bits or an error by name (P7)."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from run_processes import Workspace, alive, checkpoints, kill_group, process_tree, wait_for

pytestmark = pytest.mark.slow

ONE = ("--method", "target_only", "--dataset", "planted", "--seed", "0", "--no-references", "--workers", "1")
TWO = ("--method", "kd", "--dataset", "planted", "--seed", "0", "--no-references", "--workers", "2")
KILLS = int(os.environ.get("PMBENCH_TEST_KILLS", "5"))
"""Random kills of `test_random_kills`."""


@contextmanager
def small_disk(path: Path, options: str) -> Iterator[None]:
    path.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small file system is not permitted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=False)


def fails(workspace: Workspace, *arguments: str, **extra: Any) -> str:
    """What a run prints that ends with exit code 1 and without a traceback."""
    process = workspace.start(*arguments, **extra)
    stdout, stderr = process.communicate(timeout=240)
    assert process.returncode == 1, (process.returncode, stderr)
    assert "Traceback" not in stdout + stderr
    return stdout + stderr


def assert_equal_results(workspace: Workspace, calm: Workspace) -> None:
    assert workspace.finished_stages() == calm.finished_stages()
    assert workspace.predictions() == calm.predictions()


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Workspace:
    """An undisturbed run."""
    workspace = Workspace(tmp_path_factory.mktemp("calm"), shared_data)
    workspace.finish(*TWO)
    return workspace


def test_full_disk(make_workspace: Callable[[str], Workspace]) -> None:
    workspace = make_workspace("workspace")
    with small_disk(workspace.store, "size=64k"):
        assert "no space left" in fails(workspace, *ONE)
        assert not list(workspace.store.glob("??/.*.tmp"))
        subprocess.run(["mount", "-o", "remount,size=64m", str(workspace.store)], check=True)
        assert {r["status"] for r in workspace.finish(*ONE)["records"]} == {"done"}


def test_read_only_store(make_workspace: Callable[[str], Workspace]) -> None:
    workspace = make_workspace("workspace")
    with small_disk(workspace.store, "size=64m"):
        remount = ["mount", "-o", "remount,ro", str(workspace.store)]
        subprocess.run(remount, check=True)
        printed = fails(workspace, *ONE)
        assert "cannot write" in printed
        assert str(workspace.store) in printed
        subprocess.run(["mount", "-o", "remount,rw", str(workspace.store)], check=True)
        assert workspace.finish(*ONE)["trained"] == 1
        subprocess.run(remount, check=True)
        shutil.rmtree(workspace.out)
        again = workspace.finish(*ONE)  # all it needs is stored
        assert (again["trained"], [r["status"] for r in again["records"]]) == (0, ["done"])


def test_64_open_files(make_workspace: Callable[[str], Workspace], calm: Workspace) -> None:
    workspace = make_workspace("workspace")
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))}
    process = workspace.start(*TWO, **limit)
    _, stderr = process.communicate(timeout=240)
    assert process.returncode == 0, stderr
    assert_equal_results(workspace, calm)


@pytest.mark.parametrize("megabytes", [300, 1500])
def test_too_little_memory(
    make_workspace: Callable[[str], Workspace], calm: Workspace, megabytes: int
) -> None:
    workspace = make_workspace("workspace")
    size = megabytes << 20
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size))}
    printed = fails(workspace, *TWO, **limit)
    assert any(word in printed for word in ("memory", "died")), printed
    workspace.finish(*TWO)
    assert_equal_results(workspace, calm)


def test_parent_stage_deleted_while_its_child_trains(
    make_workspace: Callable[[str], Workspace], calm: Workspace
) -> None:
    workspace = make_workspace("workspace")
    process = workspace.start(*TWO)
    (stored, *_) = wait_for(lambda: list(workspace.store.glob("??/[0-9a-f]*/stage.json")), 120)
    parent = stored.parent
    assert wait_for(lambda: any(path.parent.stem != parent.name for path in checkpoints(workspace)), 60)
    shutil.rmtree(parent)
    stdout, stderr = process.communicate(timeout=240)
    assert process.returncode in (0, 1), stderr  # 0 if the child had read it
    assert "Traceback" not in stderr
    assert (str(parent) in stdout) == bool(process.returncode)
    workspace.finish(*TWO)
    assert workspace.predictions() == calm.predictions()


def test_clock_that_jumps(
    make_workspace: Callable[[str], Workspace], calm: Workspace, tmp_path: Path
) -> None:
    """Each call gives a time up to a year from the last one; only what runs in the command itself sees it."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    source, library = tmp_path / "clock.c", tmp_path / "clock.so"
    source.write_text(
        "#define _GNU_SOURCE\n#include <time.h>\n#include <unistd.h>\n#include <sys/syscall.h>\n"
        "int clock_gettime(clockid_t id, struct timespec *now) {\n"
        "  long result = syscall(SYS_clock_gettime, id, now);\n"
        "  static unsigned long calls = 7;\n"
        "  calls = calls * 1103515245 + 12345;\n"
        "  if (id == CLOCK_REALTIME) now->tv_sec += calls % 63072000 - 31536000;\n"
        "  return (int)result;\n}\n"
    )
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    workspace = make_workspace("workspace")
    process = workspace.start(*TWO, env=os.environ | {"LD_PRELOAD": str(library)})
    _, stderr = process.communicate(timeout=240)
    assert process.returncode == 0, stderr
    assert_equal_results(workspace, calm)
    assert workspace.finish(*TWO)["trained"] == 0


def test_random_kills(make_workspace: Callable[[str], Workspace], calm: Workspace) -> None:
    """kill -9 of all processes at moments spread over planning, training, sealing, evaluation and records."""
    rng, killed, ended = random.Random(41), 0, 0
    while killed < KILLS:
        workspace = make_workspace(f"workspace{ended}")
        while killed < KILLS:
            process = workspace.start(*TWO)
            try:
                process.wait(rng.uniform(0.2, 12))
                break
            except subprocess.TimeoutExpired:
                kill_group(process)
                killed += 1
        workspace.finish(*TWO)
        assert_equal_results(workspace, calm)
        assert not checkpoints(workspace)
        assert not list(workspace.store.glob("??/.*.tmp"))
        ended += 1


def test_single_processes_killed(make_workspace: Callable[[str], Workspace], calm: Workspace) -> None:
    """kill -9 of one process at a time: one that plans, trains, seals or evaluates, or a server of them."""
    rng, victims, runs = random.Random(42), 0, 0
    while victims < KILLS:
        workspace = make_workspace(f"workspace{runs}")
        process = workspace.start(*TWO)
        while process.poll() is None and victims < KILLS:
            time.sleep(rng.uniform(0.2, 4))
            others = [pid for pid in alive(process_tree(process.pid)) if pid != process.pid]
            if others and process.poll() is None:
                os.kill(rng.choice(others), signal.SIGKILL)
                victims += 1
        stdout, stderr = process.communicate(timeout=240)
        assert process.returncode in (0, 1), stderr
        assert "Traceback" not in stderr
        if process.returncode and stdout:
            reasons = [r["reason"] for r in json.loads(stdout)["records"] if r["status"] == "failed"]
            assert all(reasons)
        workspace.finish(*TWO)
        assert_equal_results(workspace, calm)
        runs += 1
