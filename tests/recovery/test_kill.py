"""Killed at any instant, the same command goes on where it was and ends with the bits of an undisturbed run
(P7).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest


@dataclass
class Workspace:
    """A store, prepared data and results below one folder, and the processes started on them."""

    root: Path
    data: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def out(self) -> Path:
        return self.root / "out"

    def start(self, *arguments: str, **extra: Any) -> subprocess.Popen[str]:
        """`pmbench run ...` in a session of its own, so that all of its processes can be killed as one."""
        command = [
            sys.executable,
            "-m",
            "pmbench",
            "run",
            *arguments,
            "--store",
            str(self.store),
            "--data",
            str(self.data),
            "--out",
            str(self.out),
            "--json",
        ]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **extra,
        )
        self.started.append(process)
        return process

    def finish(self, *arguments: str) -> dict[str, Any]:
        """Runs to the end and returns what `--json` printed; fails with the error output otherwise."""
        process = self.start(*arguments)
        stdout, stderr = process.communicate(timeout=300)
        assert process.returncode == 0, stderr
        return json.loads(stdout)

    def finished_stages(self) -> dict[str, str]:
        """Key -> SHA-256 of the weights."""
        return {
            path.parent.name: hashlib.sha256((path.parent / "weights.safetensors").read_bytes()).hexdigest()
            for path in self.store.glob("??/*/stage.json")
        }

    def predictions(self) -> dict[str, str]:
        found = sorted((self.out / "predictions").rglob("*.parquet"))
        return {str(p.relative_to(self.out)): hashlib.sha256(p.read_bytes()).hexdigest() for p in found}


def kill_group(process: subprocess.Popen[str]) -> None:
    """kill -9 for the command and its servers; returns when all processes that they started are gone."""
    members = process_tree(process.pid)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    assert wait_for(lambda: not alive(members), 10), "processes outlive the command that started them"


def process_tree(root: int) -> list[int]:
    """A process and its descendants, from /proc."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [root]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def is_server(pid: int) -> bool:
    """Whether a process is the server of those that train."""
    return b"pmbench.run.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()


def alive(pids: list[int]) -> list[int]:
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                found.append(pid)
    return found


def wait_for(condition: Callable[[], Any], timeout: float, pause: float = 0.005) -> Any:
    """The condition's first true value; None after `timeout` seconds."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(pause)
    return None


@pytest.fixture(scope="session")
def shared_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared data that all tests read."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def make_workspace(tmp_path: Path, shared_data: Path) -> Iterator[Callable[[str], Workspace]]:
    made: list[Workspace] = []

    def make(name: str) -> Workspace:
        made.append(Workspace(tmp_path / name, shared_data))
        return made[-1]

    yield make
    for workspace in made:
        for process in workspace.started:
            if process.poll() is None:
                kill_group(process)


STAGES = ("--method", "kd,target_only", "--no-references", "--dataset", "hapt", "--seed", "0")  # three stages
RUN = (*STAGES, "--workers", "2", "--set", "recipe.epochs=4")


def checkpoints(workspace: Workspace) -> list[Path]:
    return list(workspace.store.glob("??/*.work/checkpoint"))


@pytest.mark.parametrize(
    "chosen", [("middle of an epoch",), pytest.param((), marks=pytest.mark.slow, id="all")]
)
def test_kill_9_at_any_moment_leaves_the_bits_of_an_undisturbed_run(
    make_workspace: Callable[[str], Workspace], chosen: tuple[str, ...]
) -> None:
    calm, harried = make_workspace("calm"), make_workspace("harried")
    undisturbed = calm.finish(*RUN)
    rng = random.Random(20240229)
    moments = {
        "start": lambda: time.sleep(rng.uniform(0.1, 2.0)) or True,
        "middle of an epoch": lambda: checkpoints(harried) and (time.sleep(rng.uniform(0, 0.4)) or True),
        "write of a stage": lambda: list(harried.store.glob("??/.*.tmp")),
        "after some stage": lambda: harried.finished_stages() and (time.sleep(rng.uniform(0, 3)) or True),
        "write of predictions or a record": lambda: (
            list(harried.out.rglob(".*.tmp")) or list(harried.out.rglob("*.json"))
        ),
    }
    struck = []
    chosen = chosen or tuple(moments)
    for name in chosen:
        moment = moments[name]
        process = harried.start(*RUN)
        if (
            wait_for(lambda m=moment, p=process: p.poll() is not None or m(), 120, pause=0.0005)
            and process.poll() is None
        ):
            kill_group(process)
            struck.append(name)
    assert len(struck) >= len(chosen) - 1, f"the run ended before it could be killed; only {struck}"
    rest = harried.finish(*RUN)

    assert harried.finished_stages() == calm.finished_stages()
    assert harried.predictions() == calm.predictions()
    for mine, theirs in zip(rest["records"], undisturbed["records"], strict=True):
        assert mine["metrics"] == theirs["metrics"]
        assert mine["cell_key"] == theirs["cell_key"]
        assert mine["validation"] == theirs["validation"]
        assert mine["digests"]["predictions"] == theirs["digests"]["predictions"]
    assert not checkpoints(harried)

    again = harried.finish(*RUN)
    assert (again["trained"], again["reused"]) == (0, len(rest["records"]))


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_the_run_ends_well(
    make_workspace: Callable[[str], Workspace],
) -> None:
    workspace = make_workspace("workspace")
    process = workspace.start(*RUN)
    assert wait_for(lambda: checkpoints(workspace), 120)
    (server, *_) = [pid for pid in process_tree(process.pid) if is_server(pid)]
    victim = next(pid for pid in process_tree(server) if pid != server)
    os.kill(victim, signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=240)
    assert process.returncode == 0, stderr
    assert {r["status"] for r in json.loads(stdout)["records"]} == {"done"}


ENDLESS = ("--method", "target_only", "--dataset", "planted", "--seed", "0", "--no-references")
SHARED = (*ENDLESS, "--workers", "1", "--devices", "2", "--set", "recipe.epochs=100000")


@pytest.mark.parametrize("run", [RUN, SHARED], ids=["workers", "processes of one stage"])
def test_workers_leave_when_the_command_is_killed_alone(
    make_workspace: Callable[[str], Workspace], run: tuple[str, ...]
) -> None:
    workspace = make_workspace("workspace")
    process = workspace.start(*run)
    assert wait_for(lambda: checkpoints(workspace), 120)
    members = process_tree(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    assert wait_for(lambda: not alive(members), 15), "orphans are still running"


def test_ctrl_c_ends_at_once_and_the_next_start_resumes(make_workspace: Callable[[str], Workspace]) -> None:
    workspace = make_workspace("workspace")
    process = workspace.start(*RUN)
    assert wait_for(lambda: checkpoints(workspace), 120)
    sent, members = time.monotonic(), process_tree(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert time.monotonic() - sent < 5
    assert process.returncode == 130
    assert "same command to resume" in stderr
    assert "Traceback" not in stderr
    assert wait_for(lambda: not alive(members), 10)
    assert checkpoints(workspace)
    assert {r["status"] for r in workspace.finish(*RUN)["records"]} == {"done"}


@pytest.mark.slow
def test_two_runs_of_the_same_command_share_the_work(make_workspace: Callable[[str], Workspace]) -> None:
    workspace = make_workspace("workspace")
    run = ("--method", "kd", "--no-references", "--dataset", "planted", "--seeds", "2", "--workers", "1")
    both = [workspace.start(*run) for _ in range(2)]
    ended = [p.communicate(timeout=300) for p in both]
    assert [p.returncode for p in both] == [0, 0], ended
    results = [json.loads(stdout) for stdout, _ in ended]
    assert sum(r["trained"] for r in results) == len(workspace.finished_stages())
    assert [r["metrics"] for r in results[0]["records"]] == [r["metrics"] for r in results[1]["records"]]


@pytest.mark.slow
def test_a_full_disk_is_an_error_that_loses_nothing(
    make_workspace: Callable[[str], Workspace], tmp_path: Path
) -> None:
    workspace = make_workspace("workspace")
    workspace.store.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(workspace.store)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system is not permitted here")
    run = (*ENDLESS, "--workers", "1")
    try:
        process = workspace.start(*run)
        stdout, stderr = process.communicate(timeout=240)
        assert process.returncode == 1, stderr
        assert "no space left" in stdout + stderr
        assert "Traceback" not in stderr
        assert not list(workspace.store.glob("??/.*.tmp"))
        subprocess.run(["mount", "-o", "remount,size=64m", str(workspace.store)], check=True)
        result = workspace.finish(*run)
        assert {r["status"] for r in result["records"]} == {"done"}
    finally:
        subprocess.run(["umount", str(workspace.store)], check=False)
